// Pilotage in Azure: the Function App, its storage (ledger and dead letters), its identity, the Event Grid
// subscriptions of the workspaces it serves, and the roles it needs. Workspaces and the registry exist already.
targetScope = 'resourceGroup'

@description('Region of the Function App.')
param location string = resourceGroup().location

@description('Short name, lower case: part of every resource name.')
@minLength(3)
@maxLength(12)
param name string = 'pilotage'

@description('Names of the workspaces in this resource group: where models are registered, staged and served.')
param workspaces array = ['mlw-dev', 'mlw-staging', 'mlw-prod']

@description('Name of the Azure ML registry in this resource group.')
param registry string

@description('Issuer of the tokens that people and scripts send, for example https://login.microsoftonline.com/TENANT/v2.0.')
param authIssuer string

@description('Audience of those tokens: the application id URI of the app registration.')
param authAudience string = 'api://pilotage'

@description('Microsoft Graph of this cloud, asked about groups that do not fit into a token.')
param graphUrl string = 'https://graph.microsoft.com'

@description('Webhook that announces approvals and drift (Teams, Slack or your own); empty for none.')
@secure()
param notifyWebhook string = ''

@description('Days for which evidence can neither be changed nor deleted.')
@minValue(1)
@maxValue(146000)
param retentionDays int = 2555

@description('Client id of the app registration by which people sign in to the pages; empty: no pages for browsers.')
param signInClientId string = ''

@description('JSON of channel names to apprise URLs; empty for none.')
@secure()
param notifyChannels string = ''

@description('Environment asset with the libraries of gates, for those that run as jobs (infra/gates); empty for none.')
param gatesEnvironment string = ''

@description('Set to true after the first deployment of the code: Event Grid validates the triggers when it subscribes.')
param subscribe bool = false

var unique = uniqueString(resourceGroup().id, name)
var storageName = take('st${name}${unique}', 24)
var functionName = 'func-${name}-${unique}'
var deadLetters = 'event-grid-dead-letters'

var roles = {
  dataScientist: 'f6c7c914-8db3-469d-8ca1-694a8f32e121' // AzureML Data Scientist
  registryUser: '1823dd4f-9b8c-4ab6-ab4e-7397a3684615' // AzureML Registry User
  blobOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b' // Storage Blob Data Owner
  blobReader: '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1' // Storage Blob Data Reader
  blobContributor: 'ba92f5b4-2d11-453d-a403-e96b0029c9fe' // Storage Blob Data Contributor
  tableContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3' // Storage Table Data Contributor
  queueContributor: '974c5e8b-45b9-4653-ba55-5f855dd0fb88' // Storage Queue Data Contributor
  secretsUser: '4633458b-17de-408a-b874-0445c86b69e6' // Key Vault Secrets User
  cryptoUser: '12338af0-0e69-4776-bea7-57ae8d297424' // Key Vault Crypto User
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'id-${name}-${unique}'
  location: location
}

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: storageName
  location: location
  kind: 'StorageV2'
  sku: { name: 'Standard_ZRS' }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: storage
  name: 'default'
  properties: { isVersioningEnabled: true, deleteRetentionPolicy: { enabled: true, days: 30 } }
}

resource containers 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = [
  for container in ['pilotage', 'pilotagemarkers', 'app-package', deadLetters]: {
    parent: blobs
    name: container
  }
]

// Evidence can't be changed or deleted while this lasts. Unlocked, so that a trial can be taken down again; lock it for good with
// `az storage container immutability-policy lock`. Markers of the outbox are deleted once their work is done: they are elsewhere.
resource retention 'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies@2023-05-01' = {
  name: '${storage.name}/default/pilotage/default'
  properties: { immutabilityPeriodSinceCreationInDays: retentionDays, allowProtectedAppendWrites: false }
  dependsOn: [containers]
}

resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2023-05-01' = {
  parent: storage
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'evidence-cools-down'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: { blobTypes: ['blockBlob'], prefixMatch: ['pilotage/'] }
            actions: { baseBlob: { tierToCool: { daysAfterModificationGreaterThan: 90 } } }
          }
        }
      ]
    }
  }
}

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  name: take('kv-${name}-${unique}', 24)
  location: location
  properties: {
    tenantId: subscription().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enablePurgeProtection: true
  }
}

// Signs decision links. Made once: a later deployment must not invalidate the links that are under way.
resource linkKey 'Microsoft.KeyVault/vaults/secrets@2023-07-01' existing = {
  parent: vault
  name: 'pilotage-link-key'
}

// Signs passports. The private key never leaves the vault; a new version is named here by a deployment, and old ones stay verifiable.
resource passportKey 'Microsoft.KeyVault/vaults/keys@2023-07-01' = {
  parent: vault
  name: 'pilotage-passport'
  properties: { kty: 'EC', curveName: 'P-256', keyOps: ['sign', 'verify'] }
}

resource logs 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: 'log-${name}-${unique}'
  location: location
  properties: { sku: { name: 'PerGB2018' }, retentionInDays: 90 }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-${name}-${unique}'
  location: location
  kind: 'web'
  properties: { Application_Type: 'web', WorkspaceResourceId: logs.id }
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: 'plan-${name}-${unique}'
  location: location
  kind: 'functionapp'
  sku: { tier: 'FlexConsumption', name: 'FC1' }
  properties: { reserved: true }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  name: functionName
  location: location
  kind: 'functionapp,linux'
  tags: { 'azd-service-name': 'app' }
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${identity.id}': {} } }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    keyVaultReferenceIdentity: identity.id
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}app-package'
          authentication: { type: 'UserAssignedIdentity', userAssignedIdentityResourceId: identity.id }
        }
      }
      runtime: { name: 'python', version: '3.13' }
      scaleAndConcurrency: { instanceMemoryMB: 2048, maximumInstanceCount: 40 }
    }
    siteConfig: {
      appSettings: [
        { name: 'AzureWebJobsStorage__accountName', value: storage.name }
        { name: 'AzureWebJobsStorage__credential', value: 'managedidentity' }
        { name: 'AzureWebJobsStorage__clientId', value: identity.properties.clientId }
        { name: 'APPLICATIONINSIGHTS_CONNECTION_STRING', value: insights.properties.ConnectionString }
        { name: 'AZURE_CLIENT_ID', value: identity.properties.clientId }
        { name: 'AZURE_TENANT_ID', value: subscription().tenantId }
        { name: 'AZURE_SUBSCRIPTION_ID', value: subscription().subscriptionId }
        { name: 'AZURE_RESOURCE_GROUP', value: resourceGroup().name }
        { name: 'PILOTAGE_LEDGER_BLOB_URL', value: storage.properties.primaryEndpoints.blob }
        { name: 'PILOTAGE_LEDGER_TABLE_URL', value: storage.properties.primaryEndpoints.table }
        { name: 'PILOTAGE_DEAD_LETTER_CONTAINER', value: deadLetters }
        { name: 'PILOTAGE_AUTH_ISSUER', value: authIssuer }
        { name: 'PILOTAGE_AUTH_AUDIENCE', value: authAudience }
        { name: 'PILOTAGE_AUTH_CLIENT_ID', value: signInClientId }
        { name: 'PILOTAGE_GRAPH_URL', value: graphUrl }
        { name: 'PILOTAGE_BASE_URL', value: 'https://${functionName}.azurewebsites.net' }
        { name: 'PILOTAGE_LINK_KEY', value: '@Microsoft.KeyVault(SecretUri=${vault.properties.vaultUri}secrets/${linkKey.name})' }
        { name: 'PILOTAGE_SIGNING_KEY_ID', value: passportKey.properties.keyUriWithVersion }
        { name: 'PILOTAGE_NOTIFY_WEBHOOK', value: notifyWebhook }
        { name: 'PILOTAGE_NOTIFY_CHANNELS', value: notifyChannels }
        { name: 'PILOTAGE_GATES_ENVIRONMENT', value: gatesEnvironment }
        { name: 'PILOTAGE_OUTBOX_SCHEDULE', value: '0 */1 * * * *' }
        { name: 'PILOTAGE_SWEEP_SCHEDULE', value: '0 */15 * * * *' }
      ]
    }
  }
  dependsOn: [containers]
}

// People sign in to the pages; callers of the API bring a token of their own. The app verifies both itself.
resource signIn 'Microsoft.Web/sites/config@2024-04-01' = if (!empty(signInClientId)) {
  parent: app
  name: 'authsettingsV2'
  properties: {
    platform: { enabled: true }
    globalValidation: { requireAuthentication: false, unauthenticatedClientAction: 'AllowAnonymous' }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: { clientId: signInClientId, openIdIssuer: authIssuer }
        login: { loginParameters: ['scope=openid profile ${authAudience}/.default'] }
        validation: { allowedAudiences: [authAudience, signInClientId] }
      }
    }
    login: { tokenStore: { enabled: true } }
  }
}

resource storageRoles 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in [roles.blobOwner, roles.tableContributor, roles.queueContributor]: {
    name: guid(storage.id, identity.id, role)
    scope: storage
    properties: {
      principalId: identity.properties.principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    }
  }
]

resource vaultRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, identity.id, roles.secretsUser)
  scope: vault
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.secretsUser)
  }
}

resource signingRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, identity.id, roles.cryptoUser)
  scope: vault
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.cryptoUser)
  }
}

module workspaceAccess 'workspace.bicep' = [
  for workspace in workspaces: {
    name: 'pilotage-${workspace}'
    params: {
      workspace: workspace
      location: location
      principalId: identity.properties.principalId
      functionId: subscribe ? '${app.id}/functions/model_events' : ''
      storageId: storage.id
      deadLetters: deadLetters
      dataScientistRole: roles.dataScientist
      blobReaderRole: roles.blobReader
      blobContributorRole: roles.blobContributor
    }
    dependsOn: [storageRoles]
  }
]

resource mlRegistry 'Microsoft.MachineLearningServices/registries@2024-10-01' existing = {
  name: registry
}

resource registryRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(mlRegistry.id, identity.id, roles.registryUser)
  scope: mlRegistry
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.registryUser)
  }
}

// Drift found by other systems: whoever holds EventGrid Data Sender on this topic may publish.
resource driftTopic 'Microsoft.EventGrid/topics@2025-02-15' = {
  name: 'evgt-${name}-drift-${unique}'
  location: location
  identity: { type: 'SystemAssigned' }
  properties: { inputSchema: 'EventGridSchema', disableLocalAuth: true }
}

resource driftDeadLetterRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage.id, driftTopic.id, roles.blobContributor)
  scope: storage
  properties: {
    principalId: driftTopic.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobContributor)
  }
}

resource driftSubscription 'Microsoft.EventGrid/topics/eventSubscriptions@2025-02-15' = if (subscribe) {
  parent: driftTopic
  name: 'pilotage'
  properties: {
    destination: {
      endpointType: 'AzureFunction'
      properties: { resourceId: '${app.id}/functions/drift_alerts', maxEventsPerBatch: 1 }
    }
    deadLetterWithResourceIdentity: {
      identity: { type: 'SystemAssigned' }
      deadLetterDestination: { endpointType: 'StorageBlob', properties: { resourceId: storage.id, blobContainerName: deadLetters } }
    }
    retryPolicy: { maxDeliveryAttempts: 30, eventTimeToLiveInMinutes: 1440 }
  }
  dependsOn: [driftDeadLetterRole]
}

output functionApp string = app.name
output url string = 'https://${app.properties.defaultHostName}'
output driftTopicEndpoint string = driftTopic.properties.endpoint
