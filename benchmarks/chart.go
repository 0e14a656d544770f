// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"html"
	"strings"
)

const (
	chartLeft   = 290 // px, of the bars
	chartWidth  = 900
	chartBar    = 16
	chartGap    = 4
	chartMargin = 130 // for the figures to the right of the longest bar
)

// chart draws processor time a record, application and broker, a bar a side. The
// bars of a workload share a scale, those of different workloads do not.
func (r *report) chart() string {
	var b strings.Builder
	y := 30
	last := ""
	for i, x := range r.rows {
		if x.workload != last {
			last = x.workload
			y += 26
			text(&b, 8, y-6, "bold", x.workload)
		}
		scale := float64(chartWidth-chartLeft-chartMargin) / longest(r.rows[i:], r.rows[:i], x.workload)
		app, broker := x.app*scale, x.broker*scale
		text(&b, 24, y+12, "normal", x.side+" on "+x.on)
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", chartLeft, y, app, chartBar, "#2b6cb0")
		fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", chartLeft+app, y, broker, chartBar, "#a0aec0")
		text(&b, chartLeft+int(app+broker)+6, y+12, "normal", fmt.Sprintf("%.2f us (x%.1f)", x.total, x.times))
		y += chartBar + chartGap
	}
	head := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n"+
		`<rect width="100%%" height="100%%" fill="white"/>`+"\n", chartWidth, y+20)
	var title strings.Builder
	text(&title, 8, 20, "bold", "Processor time a record: application (blue) and broker (grey); shorter is better")
	return head + title.String() + b.String() + "</svg>\n"
}

// longest is the longest bar of a workload.
func longest(after, before []row, workload string) float64 {
	most := 1e-9 // of nothing
	for _, rows := range [][]row{after, before} {
		for _, x := range rows {
			if x.workload == workload {
				most = max(most, x.total)
			}
		}
	}
	return most
}

func text(b *strings.Builder, x, y int, weight, s string) {
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="%s">%s</text>`+"\n", x, y, weight, html.EscapeString(s))
}
