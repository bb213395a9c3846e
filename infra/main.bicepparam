using 'main.bicep'

param registry = readEnvironmentVariable('AZUREML_REGISTRY', 'shared-registry')
param authIssuer = readEnvironmentVariable('PILOTAGE_AUTH_ISSUER', '')
param subscribe = bool(readEnvironmentVariable('PILOTAGE_SUBSCRIBE', 'false'))
