package draft

// ParseAPI is for the fuzz target, which has no files.
var ParseAPI = parseAPI
