package agenda_test

import (
	"context"
	"fmt"

	"github.com/interlock-pg/interlock/harness/monitor/agenda"
)

func ExampleNew() {
	check := func(context.Context) error { return nil }
	_, err := agenda.New(agenda.Config{Jobs: []agenda.Job{{Name: "check", Spec: "0 25 * * *", Do: check}}})
	fmt.Println(err)
	a, err := agenda.New(agenda.Config{Jobs: []agenda.Job{{Name: "check", Spec: "CRON_TZ=Asia/Seoul 0 3 * * *", Do: check}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(a.Status()[0].Next.Format("15:04 MST"))
	// Output:
	// job check: the hour of the schedule "0 25 * * *" is "25", and takes 0 to 23; try 0 3 * * *
	// 03:00 KST
}
