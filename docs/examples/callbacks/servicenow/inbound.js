// Scripted REST resource (POST): what Pilotage's webhook tells becomes a change request.
// A change that has been decided stays as it is: when the plan changes afterwards, a new one is opened.
(function process(request, response) {
  var told = request.body.data
  var asks = { awaiting_approval: true, plan_changed: true, reminder: true, escalated: true }
  if (!asks[told.kind]) {
    response.setStatus(204)
    return
  }
  var change = new GlideRecord('change_request')
  change.addQuery('correlation_id', told.promotion)
  change.addQuery('approval', 'IN', 'not requested,requested')
  change.addActiveQuery()
  change.query()
  var found = change.next()
  if (!found) {
    change.initialize()
    change.setValue('correlation_id', told.promotion)
    change.setValue('correlation_display', 'Pilotage')
  }
  var lines = [told.why, told.text, told.link]
  for (var name in told.facts) lines.push(name + ': ' + told.facts[name])
  for (var gate in told.gates) lines.push('gate ' + gate + ': ' + told.gates[gate])
  change.setValue('short_description', told.title)
  change.setValue('description', lines.join('\n'))
  change.setValue('u_pilotage_link_token', told.link_token)
  if (found) change.update()
  else change.insert()
  response.setStatus(202)
})(request, response)
