// Package settings is the configuration file of interlock serve: YAML, read strictly, each mistake with its line and what to try. Secrets are never in the
// file: it says which file or environment variable they are in.
package settings
