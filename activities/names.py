"""The names by which orchestrations call activities; importing this loads no activity."""

from __future__ import annotations

from enum import StrEnum


class Activity(StrEnum):
    # the ledger
    RECORD_ENTRY = "record_entry"
    PASSPORT_TAIL = "passport_tail"
    ANCHOR_PASSPORT = "anchor_passport"
    ANCHOR_LATE = "anchor_late"
    # what is promoted
    READ_MODEL = "read_model"
    PIN_MODEL = "pin_model"
    PIN_ASSETS = "pin_assets"
    BEGIN_SHARE = "begin_share"
    SHARED_STATE = "shared_state"
    COMPARE_COPY = "compare_copy"
    # deployments
    BEGIN_ENDPOINT = "begin_endpoint"
    ENDPOINT_STATE = "endpoint_state"
    BEGIN_DEPLOYMENT = "begin_deployment"
    DEPLOYMENT_STATE = "deployment_state"
    BEGIN_DELETE_DEPLOYMENT = "begin_delete_deployment"
    # gates
    BEGIN_GATE = "begin_gate"
    FINISH_GATE = "finish_gate"
    APPLY_WAIVERS = "apply_waivers_to"
    RUN_CHECK = "run_check"
    # plan and approval
    MAKE_PLAN = "make_plan"
    OPEN_APPROVAL = "open_approval"
    TALLY_VOTES = "tally_votes"
    DUE_REVIEWS = "due_reviews"
    WINDOW_STATE = "window_state"
    NOTIFY = "notify"
    # rollout and rollback
    ACQUIRE_ENDPOINT = "acquire_endpoint"
    CHECK_PRIOR = "check_prior"
    RECORD_LAST_GOOD = "record_last_good"
    READ_LAST_GOOD = "read_last_good"
    BEGIN_TRAFFIC = "begin_traffic"
    TRAFFIC_STATE = "traffic_state"
    RAISE_EPOCH = "raise_epoch"
    RELEASE_ENDPOINT = "release_endpoint"
    MARK_ROLLED_BACK = "mark_rolled_back"
    # drift and retraining
    INCIDENT_FACTS = "incident_facts"
    RECORD_RUN = "record_run"
    CLOSE_INCIDENT = "close_incident"
    FIND_CASE_PROMOTION = "find_case_promotion"
    PIN_RETRAINING = "pin_retraining"
    BEGIN_JOB = "begin_job"
    JOB_STATE = "job_state"
    CANCEL_JOB = "cancel_job"
    # the sweeper
    REAP = "reap"
    FIND_ORPHANS = "find_orphans"
    REMOVE_ORPHAN = "remove_orphan"
    DROP_RETAINED = "drop_retained"
