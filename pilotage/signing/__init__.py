"""Keys that sign passports: of Key Vault in Azure, in a file on one machine. Loaded by what signs, never at a start."""
