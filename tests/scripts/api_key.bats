#!/usr/bin/env bats
# Keys of the API, made on the command line.

setup() {
    here="$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)"
    [ -e "$here/.venv/installed" ] || skip "run ./scripts/test.sh once: it makes the environment"
    project="$BATS_TEST_TMPDIR/a clone"
    mkdir -p "$project"
    cp -r "$here/scripts" "$here/src" "$here/.env.example" "$here/requirements.txt" "$project/"
    ln -s "$here/.venv" "$project/.venv"
    script="$project/scripts/api_key.sh"
    file="$project/state/api_keys.json"
}

@test "a key is shown once, alone on standard output, and kept as a hash for its owner only" {
    key="$("$script" create "my agent" 2>"$BATS_TEST_TMPDIR/words")"
    [[ $key =~ ^key_[0-9a-f]{8}_[A-Za-z0-9_-]{43}$ ]]
    grep -q "shown once" "$BATS_TEST_TMPDIR/words"
    [ "$(stat -c %a "$file")" = 600 ]
    if grep -r "${key#key_*_}" "$project/state"; then false; fi
    run "$script" list
    [ "$status" -eq 0 ]
    [[ $output == *"my agent"*"read"*"never used"* ]]
    [[ $output != *"$key"* ]]
}

@test "a revoked key is gone, and what is not understood is told" {
    key="$("$script" create two --control 2>/dev/null)"
    run "$script" revoke "${key:4:8}"
    [ "$status" -eq 0 ]
    run "$script" revoke "${key:4:8}"
    [ "$status" -eq 1 ]
    run "$script" create two --everything
    [ "$status" -eq 2 ]
    [[ $output == *"Usage: ./scripts/api_key.sh"* ]]
}
