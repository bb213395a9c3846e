// One workspace: what Pilotage may do in it, and the events that it sends to Pilotage.
param workspace string
param location string
param principalId string
@description('Resource id of the model_events function; empty before the code is deployed.')
param functionId string
param storageId string
param deadLetters string
param dataScientistRole string
param blobReaderRole string
param blobContributorRole string

resource ml 'Microsoft.MachineLearningServices/workspaces@2024-10-01' existing = {
  name: workspace
}

resource artifacts 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: last(split(ml.properties.storageAccount, '/'))
}

resource ledger 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: last(split(storageId, '/'))
}

resource mlRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(ml.id, principalId, dataScientistRole)
  scope: ml
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', dataScientistRole)
  }
}

// Digests are computed from the artifacts' own bytes.
resource artifactsRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(artifacts.id, principalId, blobReaderRole)
  scope: artifacts
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobReaderRole)
  }
}

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: 'evgst-${workspace}'
  location: location
  identity: { type: 'SystemAssigned' }
  properties: { source: ml.id, topicType: 'Microsoft.MachineLearningServices.Workspaces' }
}

resource deadLetterRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(ledger.id, topic.id, blobContributorRole)
  scope: ledger
  properties: {
    principalId: topic.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobContributorRole)
  }
}

var prefix = 'Microsoft.MachineLearningServices.'
var breach = 'has failed due to one or more features violating metric thresholds'
var subscriptions = [
  { name: 'pilotage-model-events', types: ['${prefix}ModelRegistered', '${prefix}ModelDeployed', '${prefix}RunCompleted'], filters: [] }
  { name: 'pilotage-legacy-drift', types: ['${prefix}DatasetDriftDetected'], filters: [] }
  {
    name: 'pilotage-drift-breaches'
    types: ['${prefix}RunStatusChanged']
    filters: [{ operatorType: 'StringContains', key: 'data.RunTags.azureml_modelmonitor_threshold_breached', values: [breach] }]
  }
]

// Batches of one: in a batch, one failure would resend the whole payload.
resource eventSubscriptions 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = [
  for item in subscriptions: if (!empty(functionId)) {
    parent: topic
    name: item.name
    properties: {
      destination: { endpointType: 'AzureFunction', properties: { resourceId: functionId, maxEventsPerBatch: 1 } }
      filter: { includedEventTypes: item.types, advancedFilters: item.filters, enableAdvancedFilteringOnArrays: true }
      deadLetterWithResourceIdentity: {
        identity: { type: 'SystemAssigned' }
        deadLetterDestination: { endpointType: 'StorageBlob', properties: { resourceId: storageId, blobContainerName: deadLetters } }
      }
      retryPolicy: { maxDeliveryAttempts: 30, eventTimeToLiveInMinutes: 1440 }
    }
    dependsOn: [deadLetterRole]
  }
]
