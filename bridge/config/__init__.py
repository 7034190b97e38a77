"""The configuration: its model, and how YAML files become one."""
