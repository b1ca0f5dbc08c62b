package embedded

import "github.com/interlock-pg/interlock/harness/server"

// Downloaded tells whether the cache has binaries that Start would use. Where it has not, Start downloads them.
func Downloaded(config server.Config) (bool, error) {
	root, err := config.Cache("postgres")
	if err != nil {
		return false, err
	}
	return cached(root, config.Version) != "", nil
}
