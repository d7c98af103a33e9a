"""Other libraries of an app that write mail, each in a module that loads its library only when it is imported itself."""
