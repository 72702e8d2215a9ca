"""What must be refused, the whole list: with which code and line, and which tests show it.

"exit" is the code that a person's command ends with, "hub" the one that the hub gets in place of an answer,
"HTTP" what the reverse proxy or the SuperLink answers.
"""

import ast
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).parent
DEPLOYED = "simulations/test_deployment_refusals.py"
PERIMETER = "server/test_deployment_perimeter.py"
STARTED = "simulations/test_deployment_start.py"
SITES = "simulations/test_deployment_processes.py"
APPROVALS, GATE, EGRESS = "client/test_approvals.py", "client/test_gate.py", "client/test_egress.py"
JOINING, START, AUDIT = "client/test_joining.py", "client/test_start.py", "client/test_audit.py"


class Refusal(NamedTuple):
    """One thing that must not happen."""

    what: str
    code: str
    line: str
    """Stands in the text of a test that is named."""
    shown: tuple[tuple[str, str], ...]
    """File and test; first, where there are such, those on real processes."""


NOT_NOW = (DEPLOYED, "test_an_app_that_is_not_approved_now_does_not_run")
BY_THE_HUB = (DEPLOYED, "test_the_hub_starts_no_run_of_a_bundle_that_is_not_in_order")
ONE_BYTE = (APPROVALS, "test_a_bundle_of_which_a_byte_was_changed_or_lost_is_refused_and_nothing_is_approved")
ONE_BYTE_LATER = (GATE, "test_a_byte_changed_in_the_approved_bundle_runs_nothing")
MISBEHAVING = (DEPLOYED, "test_what_a_misbehaving_app_gets_out")
GETS_NOTHING_OUT = (GATE, "test_an_app_gets_nothing_out_that_was_not_approved")
NOT_IN_ORDER = (START, "test_a_home_that_is_not_in_order_starts_nothing")

REFUSALS = (
    Refusal(
        "unapproved bundle",
        "hub 7",
        "code not approved at this site",
        (
            NOT_NOW,
            ("simulations/test_deployment_approved.py",
             "test_a_hub_that_ships_other_code_gets_nothing_from_anybody"),
            (DEPLOYED, "test_a_site_that_never_approved_anything_runs_nothing"),
        ),
    ),
    Refusal(
        "one byte changed in FAB, spec or lock, at the site",
        "hub 7, exit 6",
        "project bundle damaged",
        (NOT_NOW, ONE_BYTE, ONE_BYTE_LATER),
    ),
    Refusal(
        "one byte changed in FAB, spec or lock, at the hub",
        "exit 6",
        "differs from what the operator signed",
        (BY_THE_HUB,),
    ),
    Refusal(
        "expired",
        "hub 7, exit 4",
        "project bundle expired",
        (NOT_NOW, BY_THE_HUB, (APPROVALS, "test_an_expired_bundle_and_a_late_clock_are_refused")),
    ),
    Refusal(
        "revoked",
        "hub 7",
        "project revoked at this site",
        (
            NOT_NOW,
            ("simulations/test_deployment_approved.py",
             "test_hospitals_take_part_while_they_approve_and_no_longer"),
            (GATE, "test_a_revocation_stops_the_site_at_the_next_message"),
        ),
    ),
    Refusal(
        "wrong operator key",
        "hub 7, exit 6",
        "project bundle not signed by this consortium's operator",
        (NOT_NOW, BY_THE_HUB, (APPROVALS, "test_the_bundle_of_another_operator_is_refused")),
    ),
    Refusal(
        "foreign CA",
        "exit 6 (doctor)",
        "its certificate comes from",
        (
            (DEPLOYED, "test_a_hub_of_a_foreign_authority_is_not_spoken_to"),
            (PERIMETER, "test_only_who_shows_a_certificate_passes_where_the_operator_wants_that"),
            (SITES, "test_the_hub_speaks_only_tls_and_only_with_its_own_authority"),
            (JOINING, "test_a_kit_of_a_foreign_authority_is_refused_though_the_operator_signed_it"),
            NOT_IN_ORDER,
        ),
    ),
    Refusal(
        "removed site",
        "HTTP 401, exit 4",
        "does not let this site in",
        (
            (DEPLOYED, "test_a_removed_site_is_shut_out_and_told"),
            (PERIMETER, "test_members_connect_while_they_are_members_and_nobody_else_does"),
            (APPROVALS, "test_a_removed_site_no_longer_approves_and_a_stranger_never_did"),
            (JOINING, "test_a_removed_site_stays_out_until_it_has_new_keys"),
        ),
    ),
    Refusal(
        "site in no roster",
        "exit 4",
        "does not name site south",
        (
            (SITES, "test_a_node_without_a_registered_key_is_refused"),
            (APPROVALS, "test_a_site_that_the_bundle_does_not_name_cannot_approve_it"),
            ("client/test_home.py", "test_a_site_is_a_member_of_the_roster_that_it_approved_and_of_no_other"),
        ),
    ),
    Refusal(
        "replayed approval",
        "exit 4",
        "is a replay",
        (
            (DEPLOYED, "test_an_approval_cannot_be_replayed"),
            (APPROVALS, "test_the_hub_counts_the_last_word_of_each_member"),
        ),
    ),
    Refusal(
        "another site's key",
        "exit 6, hub 7",
        "the kit names other keys than those of this site",
        (
            (DEPLOYED, "test_another_site_s_key_starts_nothing"),
            NOT_NOW,
            (APPROVALS, "test_a_statement_speaks_for_its_signer_alone"),
            NOT_IN_ORDER,
        ),
    ),
    Refusal(
        "Control and Runtime calls from a hospital's address",
        "HTTP 403",
        "/v1/runtime/acquire-task",
        (
            (PERIMETER, "test_fleet_and_health_pass_and_nothing_else"),
            (PERIMETER, "test_the_inner_port_asks_for_the_secret"),
            (SITES, "test_an_executor_without_the_secret_gets_no_work"),
        ),
    ),
    Refusal(
        "oversized body",
        "HTTP 413",
        "413",
        ((PERIMETER, "test_a_piece_of_a_model_passes_and_a_larger_body_does_not"),),
    ),
    Refusal(
        "clock off by ten minutes",
        "exit 2 (documents), exit 5 (doctor)",
        "the hub; set this machine's clock",
        (
            (DEPLOYED, "test_a_clock_off_by_ten_minutes_is_named"),
            (JOINING, "test_a_clock_that_is_ten_minutes_late_is_named"),
            ("client/test_doctor.py", "test_a_clock_that_the_hub_would_refuse_fails"),
        ),
    ),
    Refusal(
        "a ClientApp that opens a socket",
        "hub 2",
        "Operation not permitted",
        (
            (DEPLOYED, "test_an_app_that_opens_a_socket_reaches_nobody"),
            ("client/test_gate_warm.py", "test_the_app_has_no_connection_and_no_other_program"),
            GETS_NOTHING_OUT,
        ),
    ),
    Refusal(
        "a ClientApp that replies with an extra tensor",
        "hub 2",
        "REFUSED",
        (MISBEHAVING, (EGRESS, "test_the_handlers_let_nothing_else_out")),
    ),
    Refusal(
        "a ClientApp that replies with the raw weights",
        "hub 2",
        "REFUSED",
        (MISBEHAVING, GETS_NOTHING_OUT),
    ),
    Refusal(
        "a ClientApp whose exception text holds a patient's name",
        "hub 2",
        "SCRUBBED",
        (MISBEHAVING, GETS_NOTHING_OUT, (EGRESS, "test_a_patient_s_name_is_no_word_of_ours")),
    ),
    Refusal(
        "half-written kit",
        "exit 6",
        "is no whole kit",
        (NOT_IN_ORDER, (JOINING, "test_half_a_kit_is_refused_in_one_line_and_the_kit_in_force_stays")),
    ),
    Refusal("half-written bundle", "exit 6", "is no whole project bundle", (BY_THE_HUB, ONE_BYTE)),
    Refusal(
        "wrong password",
        "exit 2",
        "--password-file",
        ((JOINING, "test_the_operator_s_keys_open_with_the_password_alone"),),
    ),
    Refusal(
        "unreadable key",
        "exit 2",
        "it must be a file of the account",
        (NOT_IN_ORDER, (JOINING, "test_a_damaged_key_stops_and_is_never_replaced")),
    ),
    Refusal(
        "full disk in the audit log",
        "hub 2",
        "audit log cannot be written",
        (
            (DEPLOYED, "test_nothing_leaves_unlogged_when_the_disc_is_full"),
            (AUDIT, "test_a_full_disc_stops_the_site_in_one_line_and_the_log_goes_on_when_there_is_room"),
            (AUDIT, "test_nothing_is_trained_and_nothing_leaves_when_the_log_cannot_be_written"),
        ),
    ),
    Refusal(
        "two processes on one home",
        "exit 2",
        "in use by process",
        (
            (STARTED, "test_a_site_started_by_one_command_takes_part_and_ends_when_told"),
            (START, "test_a_second_process_on_one_home_is_refused_and_told_who_has_it"),
            ("server/test_perimeter.py", "test_a_second_hub_on_one_home_is_refused"),
        ),
    ),
)  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.what)
def test_every_refusal_is_shown_by_tests_that_are_there(refusal: Refusal) -> None:
    texts = {file: (TESTS / file).read_text() for file, _ in refusal.shown}
    for file, name in refusal.shown:
        names = {node.name for node in ast.parse(texts[file]).body if isinstance(node, ast.FunctionDef)}
        assert name in names, f"{file} has no {name}"
    assert any(refusal.line in text for text in texts.values())
