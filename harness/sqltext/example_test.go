package sqltext_test

import (
	"fmt"

	"github.com/interlock-pg/interlock/harness/sqltext"
)

func ExampleSplit() {
	for _, s := range sqltext.Split("SELECT ';'; -- one;\nDO $$ BEGIN; END $$;") {
		fmt.Println(s.Line, s.Text)
	}
	// Output:
	// 1 SELECT ';';
	// 2 DO $$ BEGIN; END $$;
}
