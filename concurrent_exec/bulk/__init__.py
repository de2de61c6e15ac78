"""One statement over records from files, frames or iterables, of any number."""
