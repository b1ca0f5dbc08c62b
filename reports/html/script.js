// Comfort only: all that the page says is there without it.
(() => {
  "use strict";

  // A copy button beside each command.
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    const label = button.firstChild;
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      let done = true;
      try {
        await navigator.clipboard.writeText(code.textContent);
      } catch {
        const range = document.createRange();
        range.selectNodeContents(code);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        done = document.execCommand("copy");
      }
      label.data = done ? "Copied" : "Selected";
      setTimeout(() => { label.data = "Copy"; }, 2000);
    });
  }

  // The step that is pointed at, or has the focus, in a panel below its picture.
  for (const figure of document.querySelectorAll("figure.lanes")) {
    const panel = figure.querySelector(".panel");
    if (!panel) continue;
    panel.hidden = false;
    panel.classList.add("idle");
    const show = (step) => {
      const row = document.getElementById(decodeURIComponent(step.getAttribute("href").slice(1)));
      if (!row) return;
      for (const other of figure.querySelectorAll(".step.shown")) other.classList.remove("shown");
      step.classList.add("shown");
      panel.classList.remove("idle");
      panel.replaceChildren(...Array.from(row.childNodes, (node) => node.cloneNode(true)));
    };
    figure.addEventListener("keydown", (event) => {
      if (event.key === "Escape") panel.classList.add("idle"); // back to its place below the picture
    });
    for (const step of figure.querySelectorAll("a.step")) {
      step.addEventListener("mouseenter", () => show(step));
      step.addEventListener("focus", () => {
        show(step);
        requestAnimationFrame(() => { // once the browser has scrolled to it
          const box = step.getBoundingClientRect();
          const covered = box.bottom + 12 - panel.getBoundingClientRect().top;
          if (covered > 0 && box.top - covered > 60) scrollBy(0, covered); // else there is no room for both
        });
      });
      step.addEventListener("click", (event) => { event.preventDefault(); show(step); });
    }
  }

  addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details")) fold.open = true;
  });

  // Charts that can be looked into, in place of the pictures.
  const source = document.getElementById("charts");
  if (!source || typeof uPlot === "undefined") return;
  const charts = JSON.parse(source.textContent);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const figure = (v) => v == null ? "–" : Math.abs(v) >= 1000 ? Math.round(v).toLocaleString("en") : String(Number(v.toPrecision(3)));
  const drawn = [];

  const draw = (chart) => {
    const place = document.getElementById(chart.id);
    const live = place.querySelector(".live");
    const picture = place.querySelector(".picture");
    live.replaceChildren();
    const width = Math.max(260, place.clientWidth - 2);
    const xs = [...new Set(chart.series.flatMap((s) => s.points.map((p) => p[0])))].sort((a, b) => a - b);
    const data = [xs, ...chart.series.map((s) => {
      const at = new Map(s.points);
      return xs.map((x) => at.has(x) ? at.get(x) : null);
    })];
    const grid = { stroke: colour("--rule"), width: 1 };
    const axis = { stroke: colour("--soft"), grid, ticks: grid };
    const words = chart.ticks && new Map(chart.ticks.map((t) => [t.at, t.words]));
    const x = words
      ? { ...axis, splits: () => chart.ticks.map((t) => t.at), values: (_, all) => all.map((v) => words.get(v) || "") }
      : { ...axis, values: (_, all) => all.map((v) => v == null ? "" : figure(v) + (chart.x === "s" ? " s" : "")) };
    const options = {
      width, height: 300,
      scales: { x: { time: false }, y: { distr: chart.log ? 3 : 1, ...(chart.log ? {} : { range: (_, low, high) => [0, (high || 1) * 1.06] }) } },
      axes: [x, { ...axis, size: 62, values: (_, all) => all.map((v) => v == null ? "" : figure(v)) }],
      series: [
        { label: words ? "percentile" : chart.x === "s" ? "time" : chart.x, value: (_, v) => words ? words.get(v) || "–" : figure(v) },
        ...chart.series.map((s, i) => ({
          label: s.name, stroke: colour("--s" + i % 6), width: 2, dash: i >= 6 ? [6, 4] : undefined, spanGaps: true,
          points: { show: s.points.length <= 60, size: 6 }, value: (_, v) => figure(v),
        })),
      ],
      hooks: {
        drawClear: [(u) => {
          const { ctx, bbox } = u;
          ctx.save();
          ctx.globalAlpha = 0.16;
          ctx.fillStyle = colour("--bad");
          for (const b of chart.bands || []) {
            const from = u.valToPos(b.from, "x", true), to = u.valToPos(b.to, "x", true);
            ctx.fillRect(from, bbox.top, Math.max(2, to - from), bbox.height);
          }
          ctx.restore();
        }],
        draw: [(u) => {
          chart.series.forEach((s) => {
            if (s.knee < 0 || !s.points[s.knee]) return;
            const [px, py] = s.points[s.knee];
            const left = u.valToPos(px, "x", true), top = u.valToPos(py, "y", true);
            u.ctx.save();
            u.ctx.strokeStyle = colour("--bad");
            u.ctx.lineWidth = 2 * devicePixelRatio;
            u.ctx.beginPath();
            u.ctx.arc(left, top, 9 * devicePixelRatio, 0, 2 * Math.PI);
            u.ctx.stroke();
            u.ctx.fillStyle = colour("--ink");
            u.ctx.font = 12 * devicePixelRatio + "px system-ui, sans-serif";
            u.ctx.textAlign = "left";
            if (!chart.log) u.ctx.fillText("the knee", left + 13 * devicePixelRatio, top + 18 * devicePixelRatio);
            u.ctx.restore();
          });
        }],
      },
    };
    live.hidden = false;
    picture.hidden = true;
    place.querySelector(".key").hidden = true;
    drawn.push(new uPlot(options, data, live));
  };
  const all = () => {
    for (const one of drawn.splice(0)) one.destroy();
    charts.forEach(draw);
  };
  all();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    all();
  });
})();
