"""The Function App: puts the triggers, the orchestrations and the activities together, and nothing else."""

import azure.durable_functions as df
import azure.functions as func

from activities.registry import ACTIVITIES
from functions import alerts, approvals, channels, evidence, model_events, openapi, pages, passports, plans, promotions, schedules
from orchestrations import ORCHESTRATORS

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)

for module in (model_events, alerts, approvals, promotions, plans, passports, pages, evidence, channels, openapi, schedules):
    app.register_functions(module.bp)
for orchestrator in ORCHESTRATORS:
    app.orchestration_trigger(context_name="context")(orchestrator)
for name, activity in ACTIVITIES.items():
    app.activity_trigger(input_name="payload", activity=name)(activity)
