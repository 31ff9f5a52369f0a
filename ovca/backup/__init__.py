"""What an appliance knows, saved into a file and put back: the database, the configuration, the site files."""
