#!/usr/bin/env bats
# What scripts/lib/environment.sh promises of .env and the virtual environment.

setup() {
    here="$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)"
    project="$BATS_TEST_TMPDIR/a folder"
    mkdir -p "$project/scripts" "$project/state"
    cp -r "$here/scripts/lib" "$here/scripts/install_packages.py" "$project/scripts/"
    cp "$here/.env.example" "$project/"
    echo "# nothing" >"$project/requirements.txt"
    unset TRADING_MODE USE_TESTNET BINANCE_API_KEY DASHBOARD_PORT
    # shellcheck disable=SC1091
    source "$project/scripts/lib/environment.sh"
}

value() { value_in_file "$1" "$project/.env"; }

@test "a first start writes .env with secrets of its own, for the owner alone" {
    run make_env_file
    [ "$status" -eq 0 ]
    [ "$(stat -c %a "$project/.env")" = 600 ]
    [[ $(value BOT_CONTROL_PIN) =~ ^[0-9]{6}$ ]]
    for name in FLASK_SECRET_KEY PAPER_API_KEY PAPER_API_SECRET; do
        [[ $(value "$name") =~ ^[A-Za-z0-9]{64}$ ]]
        [[ $output != *"$(value "$name")"* ]]
    done
    [ "$(value PAPER_API_KEY)" != "$(value PAPER_API_SECRET)" ]
    diff <(grep -vE '^(BOT_CONTROL_PIN|FLASK_SECRET_KEY|PAPER_API_KEY|PAPER_API_SECRET)=' "$project/.env") \
        <(grep -vE '^(BOT_CONTROL_PIN|FLASK_SECRET_KEY|PAPER_API_KEY|PAPER_API_SECRET)=' "$project/.env.example")
}

@test "what stands in .env is kept; a second run changes nothing" {
    make_env_file
    before="$(cat "$project/.env")"
    run make_env_file
    [ -z "$output" ]
    [ "$(cat "$project/.env")" = "$before" ]
}

@test "example values are replaced, own ones are not, missing lines are added" {
    printf 'BOT_CONTROL_PIN=123456\nFLASK_SECRET_KEY=my-own-key\nLEVERAGE=3' >"$project/.env"
    make_env_file
    [[ $(value BOT_CONTROL_PIN) =~ ^[0-9]{6}$ && $(value BOT_CONTROL_PIN) != 123456 ]]
    [ "$(value FLASK_SECRET_KEY)" = my-own-key ]
    [ "$(value LEVERAGE)" = 3 ]
    [ "${#PAPER_API_KEY}" -eq 0 ]
    [[ $(value PAPER_API_KEY) =~ ^.{64}$ ]]
}

@test "an .env that others can read is repaired on paper and left to be refused in live" {
    cp "$project/.env.example" "$project/.env"
    chmod 644 "$project/.env"
    make_env_file
    [ "$(stat -c %a "$project/.env")" = 600 ]
    printf '\nTRADING_MODE=live\n' >>"$project/.env"
    chmod 644 "$project/.env"
    run make_env_file
    [ "$(stat -c %a "$project/.env")" = 644 ]
}

@test "settings are read as the programs read them" {
    cat >"$project/.env" <<'ENV'
DASHBOARD_PORT=5001   # with a word
export MCP_PORT = "3001"
PAPER_HOST='127.0.0.1'
LOG_DIR=one
LOG_DIR=two
RULES=# nothing
ENV
    [ "$(setting DASHBOARD_PORT 5000)" = 5001 ]
    [ "$(setting MCP_PORT 3000)" = 3001 ]
    [ "$(setting PAPER_HOST)" = 127.0.0.1 ]
    [ "$(setting LOG_DIR)" = two ]
    [ "$(setting RULES safety_first)" = safety_first ]
    [ "$(setting PAPER_PORT 3100)" = 3100 ]
    [ "$(DASHBOARD_PORT=7 setting DASHBOARD_PORT 5000)" = 7 ]
}

@test "packages are installed only when a list is another one" {
    mkdir -p "$project/.venv/bin"
    cat >"$project/.venv/bin/python" <<SCRIPT
#!/bin/sh
case "\$*" in
    *install_packages.py*)
        shift
        echo "\$*" >>"$BATS_TEST_TMPDIR/installs"
        mkdir -p "$project/.venv/locks/Python 3.11.2"
        for lock; do cp "\$lock" "$project/.venv/locks/Python 3.11.2/"; done ;;
    -V) echo "Python 3.11.2" ;;
esac
SCRIPT
    chmod +x "$project/.venv/bin/python"
    is_installed || install_packages
    is_installed || install_packages
    [ "$(cat "$BATS_TEST_TMPDIR/installs")" = "$project/requirements.txt" ]
    echo "# changed" >>"$project/requirements.txt"
    is_installed || install_packages
    [ "$(wc -l <"$BATS_TEST_TMPDIR/installs")" -eq 2 ]
    echo "# more" >"$project/requirements-test.txt"
    is_installed
    wanted_locks+=(requirements-test.txt)
    is_installed || install_packages
    [ "$(tail -n 1 "$BATS_TEST_TMPDIR/installs")" = "$project/requirements.txt $project/requirements-test.txt" ]
    wanted_locks=(requirements.txt)
    is_installed
    echo "# other" >"$project/requirements-test.txt"
    run is_installed
    [ "$status" -eq 1 ]
}

@test "without Python there is one sentence that says what to type" {
    find_python() { return 1; }
    install_debian_packages() { return 1; }
    run make_venv
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ $output == *"apt-get install python3-venv"* ]]
}

@test "without the venv module there is one sentence that says what to type" {
    can_make_venv() { return 1; }
    install_debian_packages() { return 1; }
    run make_venv
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ $output == *"sudo apt-get install python3-venv"* ]]
}

@test "a broken virtual environment is made anew" {
    mkdir -p "$project/.venv/bin"
    ln -s /nowhere/python "$project/.venv/bin/python"
    run prepare_environment
    [ "$status" -eq 0 ]
    "$project/.venv/bin/python" -c 'import pip'
    [ -s "$project/.env" ]
}
