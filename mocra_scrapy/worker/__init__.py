"""The inside of one crawling process, in the order of the data flow."""
