"""The security tests, the checklist's 32 and four more, each with the tests that hold it: a renamed one fails here."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

HELD = {
    "1 a default start listens on loopback alone": (
        "tests/runtime/test_settings.py::test_remote_access_needs_strong_secrets",
        "tests/api/test_auth.py::test_loopback_answers_to_its_own_names",
        "tests/api/test_mcp_server.py::test_it_listens_on_loopback_alone",
        "tests/security/test_doors.py::test_a_default_start_listens_on_loopback_and_nowhere_else",
    ),
    "2 an open bind without a strong key is refused": (
        "tests/runtime/test_settings.py::test_remote_access_needs_strong_secrets",
        "tests/api/test_auth.py::test_an_open_bind_without_a_key_does_not_start",
        "tests/api/test_mcp_server.py::test_a_taken_port_and_an_open_door_are_refused_with_a_reason",
        "tests/api/test_mcp_server.py::test_an_address_that_others_reach_opens_to_keys_alone",
        "tests/security/test_doors.py::test_an_open_door_without_strong_secrets_ends_the_start_with_78_and_a_sentence",
        "tests/dashboard/test_web.py::test_an_open_address_needs_strong_secrets_and_then_the_pin_even_to_look",
    ),
    "3 no default credential works, the first start makes one": (
        "tests/runtime/test_settings.py::test_example_keys_do_not_reach_the_testnet",
        "tests/scripts/environment.bats::a first start writes .env with secrets of its own, for the owner alone",
        "tests/scripts/environment.bats::example values are replaced, own ones are not, missing lines are added",
        "tests/api/test_auth.py::test_a_strange_header_is_401_and_not_500",
        "tests/dashboard/test_web.py::test_no_empty_short_or_example_pin_ever_opens",
        "tests/security/test_doors.py::test_the_secrets_of_a_first_start_are_its_own_and_its_owners",
    ),
    "4 300 wrong log-ins: at most 10 are tried": (
        "tests/dashboard/test_web.py::"
        "test_three_hundred_wrong_pins_reach_the_check_five_times_and_the_right_one_works_after_the_wait",
        "tests/dashboard/test_web.py::test_a_siege_is_one_alert_for_as_long_as_it_lasts_and_over_when_it_is",
        "tests/dashboard/test_web.py::test_a_restart_gives_nobody_new_tries",
        "tests/dashboard/test_live.py::"
        "test_a_bot_killed_stopped_or_hung_is_down_on_the_page_within_45_seconds_also_under_a_siege",
    ),
    "5 300 wrong keys: at most 10 are tried": (
        "tests/api/test_auth.py::test_of_300_wrong_keys_at_most_ten_are_tried",
        "tests/api/test_auth.py::test_guesses_at_one_key_from_many_addresses_are_counted_together",
    ),
    "6 comparison in constant time": (
        "tests/api/test_keys.py::test_secrets_are_compared_in_constant_time",
        "tests/api/test_auth.py::test_a_strange_header_is_401_and_not_500",
        "tests/dashboard/test_web.py::test_a_pin_of_any_letters_is_wrong_and_not_a_fault",
    ),
    "7 secrets are kept as hashes": (
        "tests/api/test_keys.py::test_the_secret_is_kept_nowhere",
        "tests/dashboard/test_web.py::test_neither_pin_nor_token_is_in_the_database_or_the_log",
    ),
    "8 sessions end": (
        "tests/dashboard/test_web.py::test_a_session_is_new_at_each_log_in_and_dead_after_log_out",
        "tests/dashboard/test_web.py::test_a_session_ends_after_an_hour_of_rest_and_after_twelve_in_any_case",
    ),
    "9 cookies cannot be stolen or sent elsewhere": (
        "tests/dashboard/test_web.py::test_the_cookie_is_for_our_page_alone",
        "tests/dashboard/test_journey.py::test_a_person_starts_pauses_sees_why_resumes_closes_trips_resets_and_stops",
    ),
    "10 the API ignores cookies": ("tests/api/test_auth.py::test_cookies_open_nothing_and_are_never_set",),
    "11 writes want the own site and JSON": (
        "tests/api/test_auth.py::test_writes_want_json_the_own_site_and_a_key_of_their_scope",
        "tests/api/test_mcp_server.py::test_the_protocol_has_the_same_door",
        "tests/dashboard/test_web.py::test_a_write_that_our_page_did_not_make_is_refused",
        "tests/dashboard/test_web.py::test_without_the_pin_nothing_can_be_wished",
    ),
    "12 no GET changes anything": (
        "tests/api/test_rest.py::test_asking_changes_nothing",
        "tests/dashboard/test_web.py::test_no_get_changes_anything",
    ),
    "13 a foreign Host is refused": (
        "tests/api/test_auth.py::test_a_foreign_host_is_refused_everywhere",
        "tests/api/test_mcp_server.py::test_the_protocol_has_the_same_door",
        "tests/dashboard/test_web.py::test_a_foreign_host_name_is_refused",
    ),
    "14 headers on every answer": (
        "tests/api/test_auth.py::test_every_answer_carries_what_browsers_must_know",
        "tests/api/test_mcp_server.py::test_what_is_no_http_gets_a_problem_and_no_name",
        "tests/dashboard/test_web.py::test_every_answer_carries_the_same_guard",
        "tests/dashboard/test_web.py::test_a_failure_shows_no_inside_and_can_be_found_in_the_log",
    ),
    "15 the page needs nobody else": ("tests/security/test_doors.py::test_the_page_needs_nobody_but_its_own_server",),
    "16 only listed origins may read": (
        "tests/api/test_auth.py::test_listed_origins_alone_may_read_without_credentials",
        "tests/api/test_auth.py::test_a_foreign_origin_is_refused_and_never_allowed",
        "tests/dashboard/test_web.py::test_no_other_origin_is_ever_allowed_to_read",
    ),
    "17 text from outside stays text": (
        "tests/api/test_rest.py::test_csv_makes_no_spreadsheet_calculate",
        "tests/api/test_control.py::test_text_of_a_caller_cannot_forge_a_log_line",
        "tests/dashboard/test_vendor.py::test_text_is_only_ever_text",
        "tests/dashboard/test_web.py::test_what_strangers_wrote_is_text_in_the_page",
    ),
    "18 secrets in no log, trace, answer": (
        "tests/runtime/test_logging_setup.py::test_known_secrets_are_hidden_also_url_encoded_and_in_tracebacks",
        "tests/runtime/test_settings.py::test_secrets_show_in_no_text_of_the_settings_and_in_no_problem",
        "tests/scripts/test_all_services.py::test_planted_secrets_appear_nowhere",
        "tests/security/test_own_ground.py::"
        "test_a_running_bot_shows_its_secrets_nowhere_and_talks_to_the_exchange_alone",
        "tests/api/test_mcp_server.py::test_no_secret_has_been_said_by_anything",
    ),
    "19 no line of the log can be forged": (
        "tests/runtime/test_logging_setup.py::test_no_text_can_forge_a_second_line_or_colour_the_terminal",
        "tests/api/test_control.py::test_text_of_a_caller_cannot_forge_a_log_line",
    ),
    "20 files are the owner's alone": (
        "tests/security/test_own_ground.py::"
        "test_a_running_bot_shows_its_secrets_nowhere_and_talks_to_the_exchange_alone",
        "tests/runtime/test_settings.py::test_live_refuses_an_env_file_that_others_can_read",
        "tests/storage/test_database.py::test_a_file_that_others_could_read_is_closed_to_them",
        "tests/strategy/test_q_agent.py::test_the_file_says_what_it_is_and_is_its_owner_s_alone",
        "tests/storage/test_backup.py::test_the_archive_is_private_and_holds_neither_settings_nor_secrets",
        "tests/scripts/service.bats::files are for the owner alone",
    ),
    "21 secrets in no argument and no query": (
        "tests/security/test_own_ground.py::"
        "test_a_running_bot_shows_its_secrets_nowhere_and_talks_to_the_exchange_alone",
        "tests/suite/test_postgres.py::test_a_dump_comes_back_and_the_password_is_in_no_argument",
    ),
    "22 nothing runs what it was given": (
        "tests/test_architecture.py::test_nothing_runs_what_it_was_given",
        "tests/strategy/test_q_agent.py::test_a_pickle_in_place_of_the_model_is_refused_and_not_run",
        "tests/agents/test_crew_config.py::test_nonsense_and_yaml_that_would_run_code_are_refused",
    ),
    "23 outbound to the configured hosts alone": (
        "tests/security/test_own_ground.py::test_no_address_is_built_in_that_the_list_does_not_know",
        "tests/security/test_own_ground.py::test_the_feeds_are_encrypted_and_public",
        "tests/security/test_own_ground.py::test_certificates_are_always_checked",
        "tests/security/test_own_ground.py::test_time_is_bounded_wherever_a_stranger_is_asked",
        "tests/runtime/test_http_fetch.py::test_a_redirect_into_our_network_or_to_another_protocol_is_refused",
        "tests/runtime/test_http_fetch.py::test_one_port_of_this_machine_cannot_redirect_to_another",
        "tests/runtime/test_http_fetch.py::test_a_name_is_public_only_when_all_its_addresses_are",
        "tests/security/test_own_ground.py::"
        "test_a_running_bot_shows_its_secrets_nowhere_and_talks_to_the_exchange_alone",
    ),
    "24 what a model says can only brake": (
        "tests/charts/test_vision_analyst.py::test_levels_that_the_chart_cannot_show_are_rejected",
        "tests/charts/test_vision_analyst.py::test_a_score_out_of_range_is_no_answer",
        "tests/agents/test_circuit_breaker_tools.py::test_no_sequence_of_tools_ever_arms_a_tripped_breaker",
        "tests/dashboard/test_web.py::test_what_strangers_wrote_is_text_in_the_page",
    ),
    "25 bodies and nesting are bounded": (
        "tests/api/test_auth.py::test_json_that_is_none_or_nested_too_deep_is_400",
        "tests/api/test_rest.py::test_every_refusal_has_one_shape",
        "tests/api/test_mcp_server.py::test_ten_slow_clients_keep_nobody_waiting",
        "tests/api/test_mcp_server.py::test_the_protocol_has_the_same_door",
        "tests/dashboard/test_web.py::test_a_body_that_is_too_long_too_deep_or_no_object_is_refused",
        "tests/dashboard/test_events.py::test_ten_slow_clients_stop_nobody",
    ),
    "26 faults show nothing": (
        "tests/api/test_rest.py::test_a_fault_shows_nothing_and_is_found_in_the_log",
        "tests/api/test_rest.py::test_an_absent_database_is_told_without_its_path",
        "tests/api/test_mcp_server.py::test_what_is_no_http_gets_a_problem_and_no_name",
        "tests/dashboard/test_web.py::test_a_failure_shows_no_inside_and_can_be_found_in_the_log",
    ),
    "27 no debugger": (
        "tests/runtime/test_settings.py::test_live_refuses_what_would_cost_money",
        "tests/api/test_auth.py::test_debugging_is_never_on",
        "tests/dashboard/test_web.py::test_debug_is_never_on_and_the_console_does_not_exist",
    ),
    "28 control is audited": (
        "tests/agents/test_circuit_breaker_tools.py::test_an_agent_trips_and_everybody_sees_who_and_why",
        "tests/api/test_control.py::test_tripping_stops_entries_and_is_written_down",
        "tests/api/test_auth.py::test_writes_want_json_the_own_site_and_a_key_of_their_scope",
        "tests/dashboard/test_journey.py::test_a_person_starts_pauses_sees_why_resumes_closes_trips_resets_and_stops",
    ),
    "29 control is safe to repeat": (
        "tests/agents/test_circuit_breaker_tools.py::test_twenty_agents_at_once_make_one_event",
        "tests/api/test_control.py::test_twenty_trips_at_once_are_one",
        "tests/dashboard/test_live.py::test_twenty_hands_on_close_send_one_order_and_a_pause_holds",
        "tests/dashboard/test_web.py::test_the_same_key_and_the_same_wish_are_one",
    ),
    "30 live refuses a key that moves money": (
        "tests/security/test_own_ground.py::test_live_refuses_a_key_that_may_move_money_away_and_says_what_to_do",
        "tests/security/test_own_ground.py::"
        "test_a_key_that_works_from_anywhere_is_a_caution_for_as_long_as_the_bot_runs",
        "tests/security/test_own_ground.py::test_the_page_shows_what_the_bot_cautions_against",
    ),
    "31 dependencies are pinned with hashes": (
        "tests/test_architecture.py::test_requirements_are_pinned_with_hashes_and_name_no_registry",
        "tests/security/test_own_ground.py::test_the_scripts_install_nothing_without_its_hash",
        "tests/scripts/test_sbom.py::test_every_pin_is_on_it_with_every_digest_and_nothing_else",
        "tests/scripts/test_sbom.py::test_the_code_of_others_in_the_repository_is_on_it",
    ),
    "32 no path leads outside": (
        "tests/storage/test_backup.py::test_a_damaged_or_foreign_archive_changes_nothing",
        "tests/security/test_doors.py::test_no_path_leads_to_a_file_that_is_not_listed",
        "tests/dashboard/test_web.py::test_only_the_listed_files_can_be_had",
    ),
    "33 a webhook's secret: wrong, replayed, old, huge, a thousand a second": (
        "tests/api/test_external_signals.py::test_wrong_secrets_change_nothing_and_are_counted",
        "tests/api/test_external_signals.py::test_a_source_can_do_nothing_else",
        "tests/api/test_external_signals.py::test_a_repetition_counts_once_and_says_so",
        "tests/api/test_external_signals.py::test_what_is_old_or_from_the_future_is_refused",
        "tests/api/test_external_signals.py::test_a_captured_message_is_refused_once_it_is_old",
        "tests/api/test_external_signals.py::test_what_is_huge_is_refused_unread",
        "tests/api/test_external_signals.py::test_a_thousand_a_second_leave_sixty_rows_and_the_api_answers",
        "tests/api/test_external_signals.py::test_the_key_of_the_path_reaches_no_log_and_no_answer",
    ),
    "34 an external signal passes no gate": (
        "tests/execution/test_external_signals.py::test_no_gate_gives_way",
        "tests/execution/test_external_signals.py::test_uncounted_it_changes_no_turn",
        "tests/strategy/test_external_votes.py::test_alone_it_makes_no_signal",
    ),
    "35 a chat command needs an allowed user, the PIN, once and in time": (
        "tests/chat/test_evening.py::test_a_stranger_gets_nothing_not_even_a_sign_that_a_bot_lives_there",
        "tests/chat/test_evening.py::test_no_button_of_one_user_confirms_the_change_of_another",
        "tests/chat/test_evening.py::test_a_wrong_pin_does_nothing_and_five_close_the_way",
        "tests/chat/test_evening.py::test_a_confirmation_counts_once_and_for_a_minute",
        "tests/chat/test_evening.py::test_a_crash_between_taking_and_doing_does_nothing_twice",
        "tests/chat/test_evening.py::test_the_pin_is_written_nowhere",
        "tests/chat/test_script.py::test_with_a_token_it_answers_its_owner_and_stops_in_order",
    ),
    "36 an instruction planted in text of strangers moves nothing": (
        "tests/api/test_news.py::test_text_of_strangers_is_named_and_moves_nothing",
        "tests/api/test_external_signals.py::test_orders_in_a_message_are_a_note_marked_as_a_strangers",
        "tests/chat/test_evening.py::test_what_is_not_a_command_changes_nothing",
    ),
}


@cache
def names_of(file: str) -> frozenset[str]:
    """Return the names of the tests of a file, of pytest or bats; none where it does not exist."""
    path = ROOT / file
    if not path.exists():
        return frozenset()
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".bats":
        return frozenset(line.split('"')[1] for line in text.splitlines() if line.startswith("@test "))
    return frozenset(node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef))


def test_all_are_numbered():
    assert [int(title.split()[0]) for title in HELD] == list(range(1, 37))


@pytest.mark.parametrize("title", HELD)
def test_the_tests_that_hold_it_exist(title):
    missing = [name for name in HELD[title] if name.partition("::")[2] not in names_of(name.partition("::")[0])]
    assert missing == []


def test_each_is_held_by_some_test():
    assert [title for title, tests in HELD.items() if not tests] == []
