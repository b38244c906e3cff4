"""MLServer runtimes: they serve the folder of a published version as it is."""
