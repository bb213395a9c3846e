"""What a model monitor's runs execute: the counterpart of Azure's built-in model monitoring components."""
