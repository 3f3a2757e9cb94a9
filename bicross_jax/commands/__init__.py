"""One module a script: arguments, what it does, and `main(argv)`."""
