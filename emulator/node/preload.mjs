// Loaded into Azurite's process before Azurite itself.
import { createRequire } from 'node:module'
import https from 'node:https'

// Azurite listens for the first SIGTERM only, and a second would cut its saving short. When the platform is killed,
// the kernel sends it one for each of the platform's threads that is its parent for a moment.
// It listens when it has started; a SIGTERM that comes before is kept for it, so that what it may have acknowledged is saved.
let listening = false
let early = false
process.on('SIGTERM', () => { early = !listening })
process.on('newListener', name => {
  if (name !== 'SIGTERM' || listening) return
  listening = true
  if (early) setImmediate(() => process.emit('SIGTERM'))
})

// `POST /_emulator/reset` empties the storage of every account. Over the public APIs that is a request for each
// blob container and table, of some ten milliseconds; here it is one for all of them. What an app takes for
// granted once it has made it stays: accounts' properties, containers, tables and queues. The files of blobs
// ("extents") are Azurite's to collect, as after every deletion.
const KEPT = new Set(['$SERVICES_COLLECTION$', '$CONTAINERS_COLLECTION$', '$TABLES_COLLECTION$', '$QUEUES_COLLECTION$', '$EXTENTS_COLLECTION$'])
const token = process.env.EMULATOR_RESET_TOKEN
delete process.env.EMULATOR_RESET_TOKEN
const Loki = createRequire(process.argv[1])('lokijs')
const databases = new Set()
const addCollection = Loki.prototype.addCollection
const loadDatabase = Loki.prototype.loadDatabase
Loki.prototype.addCollection = function (...given) {
  databases.add(this)
  return addCollection.apply(this, given)
}
Loki.prototype.loadDatabase = function (...given) {
  databases.add(this)
  return loadDatabase.apply(this, given)
}

function reset () {
  let removed = 0
  for (const database of databases) {
    for (const collection of database.collections) {
      if (!KEPT.has(collection.name)) {
        removed += collection.data.length
        collection.clear()
      }
    }
  }
  return removed
}

const emit = https.Server.prototype.emit
https.Server.prototype.emit = function (name, request, response, ...rest) {
  if (name !== 'request' || request.url !== '/_emulator/reset') return emit.call(this, name, request, response, ...rest)
  const allowed = token && request.method === 'POST' && request.headers['x-reset-token'] === token
  response.writeHead(allowed ? 200 : 403, { 'content-type': 'application/json' })
  response.end(JSON.stringify(allowed ? { removed: reset() } : { error: 'this is the local platform\'s own' }))
  return true
}
