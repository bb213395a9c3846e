// Business rule on change_request: async, on update, when approval changes and correlation_display is Pilotage.
(function executeRule(current, previous /* null when async */) {
  var decision = { approved: 'approve', rejected: 'reject' }[current.getValue('approval')]
  if (!decision) return
  var number = current.getValue('number')
  var message = new sn_ws.RESTMessageV2()
  message.setEndpoint(gs.getProperty('pilotage.url') + '/api/approvals/' + encodeURIComponent(current.getValue('correlation_id')) + '/decision')
  message.setHttpMethod('POST')
  message.setAuthenticationProfile('oauth2', gs.getProperty('pilotage.oauth_profile'))
  message.setRequestHeader('Content-Type', 'application/json')
  message.setRequestBody(JSON.stringify({
    decision: decision, reason: 'change ' + number + ' was ' + current.getValue('approval'), reference: number,
    token: current.getValue('u_pilotage_link_token')
  }))
  message.setHttpTimeout(60000)
  var status = 0
  var body = ''
  try {
    var answer = message.execute()
    status = answer.getStatusCode()
    body = answer.getBody()
  } catch (error) {
    body = '' // a host that does not answer at all
  }
  var note
  if (status === 202 || status === 200) {
    note = 'Pilotage has recorded it: the approval is ' + JSON.parse(body).state + '.'
  } else {
    note = 'Pilotage did not record it (' + status + '): ' + why(body)
    gs.error(number + ': ' + note)
  }
  current.work_notes = note
  current.setWorkflow(false) // a note runs no business rule
  current.update()

  function why(body) {
    try {
      return JSON.parse(body).error.message
    } catch (error) {
      return 'it did not answer; set the approval again to try again'
    }
  }
})(current, previous)
