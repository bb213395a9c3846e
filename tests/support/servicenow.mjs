// Runs a server-side script as a ServiceNow instance does: its globals are here, and a REST message is really sent.
// node servicenow.mjs SCRIPT; standard input and output are JSON.
import { readFileSync } from 'node:fs'
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads'
import vm from 'node:vm'

const { tables = {}, current = {}, properties = {}, body = {}, token = '' } = JSON.parse(readFileSync(0, 'utf8'))
const seen = { status: 0, errors: [], profile: [] }

class Record {
  constructor (table, fields = null) {
    this.rows = tables[table] ??= []
    this.where = []
    this.fields = fields
  }

  addQuery (name, operator, value) {
    const wanted = value === undefined ? [operator] : value.split(',') // two arguments: equal; else IN
    this.where.push(row => wanted.includes(row[name]))
  }

  addActiveQuery () { this.where.push(row => row.active !== false) }
  query () { this.found = this.rows.filter(row => this.where.every(holds => holds(row))) }
  next () { return Boolean(this.fields = this.found.shift()) }
  initialize () { this.fields = { active: true, approval: 'not requested' } }
  getValue (name) { return this.fields[name] ?? null }
  setValue (name, value) { this.fields[name] = value }
  insert () { this.rows.push(this.fields) }
  setWorkflow () {}
  update () { if (this.work_notes) this.fields.work_notes = this.work_notes }
}

class RESTMessageV2 {
  constructor () { this.headers = {} }
  setEndpoint (url) { this.url = url }
  setHttpMethod (method) { this.method = method }
  setAuthenticationProfile (kind, id) { seen.profile = [kind, id]; this.headers.Authorization = `Bearer ${token}` }
  setRequestHeader (name, value) { this.headers[name] = value }
  setRequestBody (text) { this.body = text }
  setHttpTimeout () {}
  execute () {
    const { url, method, headers, body } = this
    const answer = waitFor(`fetch(workerData.url, workerData).then(async answer => ({ status: answer.status, body: await answer.text() }))`,
      { url, method, headers, body })
    return { getStatusCode: () => answer.status, getBody: () => answer.body }
  }
}

// A promise of another thread, waited for: server-side scripts know nothing of promises.
function waitFor (promise, data) {
  const { port1, port2 } = new MessageChannel()
  const done = new Int32Array(new SharedArrayBuffer(4))
  new Worker(`const { workerData } = require('node:worker_threads')
    const say = told => { workerData.port.postMessage(told); Atomics.store(workerData.done, 0, 1); Atomics.notify(workerData.done, 0) }
    ${promise}.then(say, error => say({ status: 0, body: String(error) }))`,
  { eval: true, workerData: { ...data, port: port2, done }, transferList: [port2] }).unref()
  Atomics.wait(done, 0, 0, 30_000)
  const { message } = receiveMessageOnPort(port1)
  port1.close()
  return message
}

vm.runInNewContext(readFileSync(process.argv[2], 'utf8'), {
  GlideRecord: Record, sn_ws: { RESTMessageV2 }, current: new Record('current', current), previous: null,
  gs: { getProperty: name => properties[name], error: text => seen.errors.push(text) },
  request: { body: { data: body } }, response: { setStatus: status => { seen.status = status } }
})
console.log(JSON.stringify({ ...seen, tables, current }))
