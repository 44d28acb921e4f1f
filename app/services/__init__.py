"""Do one verb a file: what the web, the worker and the command line ask for."""
