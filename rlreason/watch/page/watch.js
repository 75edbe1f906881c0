// Asks for the run's view every two seconds and draws what has changed. Text from records is only ever set as text.
(() => {
  "use strict";
  const EVERY_MS = 2000;
  const LINES = ["#0072B2", "#E69F00", "#009E73", "#CC79A7"]; // the report's, told apart by colour-blind readers too
  const PHASES = { generate: "#77AADD", score: "#EEDD88", learn: "#EE8866", sync: "#44BB99", other: "#BBBBBB" };
  const MORE_PHASES = ["#FFAABB", "#BBCC33", "#99DDFF", "#AAAA00"];
  const SHARE_SCALE = [[0, "#a52a1e"], [0.5, "#deb85a"], [1, "#228b5a"]];
  const OPTIONS = { displaylogo: false, displayModeBar: false, responsive: true };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const byId = (id) => document.getElementById(id);
  let view = null;
  let chosen = null; // a stage's identity; null follows the run
  let failed = false;

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  const short = (value) => (Number.isInteger(value) ? value.toLocaleString() : Number(value.toPrecision(3)).toString());

  function ago(seconds) {
    for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60]])
      if (seconds >= 2 * length) return `${Math.round(seconds / length)} ${unit}`;
    return `${Math.max(0, Math.round(seconds))} s`;
  }

  function showState() {
    const written = view && view.written ? `, last written ${ago(Date.now() / 1000 - view.written)} ago` : "";
    const lost = failed ? "; no answer from rlreason watch: was it stopped?" : "";
    byId("state").textContent = view ? `${view.state}${written} · ${view.folder}${lost}` : `loading${lost}`;
  }

  function section(id, there) {
    byId(`${id}-section`).hidden = !there;
    return there;
  }

  function stageRow(stage) {
    const row = element("tr", undefined, `${stage.state}${stage.id === view.focus ? " focus" : ""}`);
    const name = element("th");
    name.scope = "row";
    const button = element("button", stage.label);
    button.type = "button";
    button.dataset.stage = stage.id;
    if (stage.id === view.focus) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => choose(stage.id));
    name.append(button);
    const progress = element("progress");
    progress.max = stage.total || 1;
    progress.value = stage.state === "done" ? progress.max : stage.done;
    const done = element("td");
    const seconds = stage.seconds === null ? "" : `, ${ago(stage.seconds)}`;
    done.append(progress, `${stage.done}${stage.total ? `/${stage.total}` : ""} ${stage.unit}${seconds}`);
    const figures = Object.entries(stage.figures).map(([figure, value]) => `${figure} ${short(value)}`).join(" · ");
    row.append(name, element("td", stage.type), done, element("td", figures, "figures quiet"));
    return row;
  }

  let shownFocus = null;
  function drawStages() {
    const rows = view.stages.map(stageRow);
    byId("stages").tBodies[0].replaceChildren(...rows);
    if (shownFocus === view.focus) return;
    shownFocus = view.focus;
    const row = rows[view.stages.findIndex((stage) => stage.id === view.focus)];
    if (row && !chosen) row.closest(".scroll").scrollTop = row.offsetTop - 120;
  }

  function choose(stage) {
    chosen = stage;
    byId("follow").hidden = stage === null;
    load(true);
  }

  function theme() {
    const css = getComputedStyle(document.documentElement);
    const pick = (name) => css.getPropertyValue(name).trim();
    return { text: pick("--text"), line: pick("--line"), family: css.fontFamily };
  }

  function layout(more) {
    const { text, line, family } = theme();
    const axis = { gridcolor: line, linecolor: line, zeroline: false, automargin: true };
    const { xaxis, yaxis, ...rest } = more;
    return {
      height: 190, margin: { l: 44, r: 8, t: 6, b: 34 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: text, family, size: 12 }, showlegend: false, hovermode: "x unified",
      hoverlabel: { bgcolor: getComputedStyle(document.body).backgroundColor, bordercolor: line, font: { color: text } },
      xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis }, ...rest,
    };
  }

  // not only the window's: a section that opens or a scroll bar that comes changes it too
  const widths = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) if (contentRect.width && target.lastChild.data) Plotly.Plots.resize(target.lastChild);
  });

  // the plots of these names in `parent`, in that order: made at their first use, removed when no longer named
  function plotsIn(parent, names) {
    const known = new Map([...parent.children].map((figure) => [figure.dataset.name, figure]));
    const figures = names.map((name) => {
      if (known.has(name)) return known.get(name);
      const figure = element("figure");
      figure.dataset.name = name;
      const plot = element("div", undefined, "plot");
      plot.setAttribute("role", "img");
      figure.append(element("figcaption", name), element("ul", undefined, "legend"), plot);
      widths.observe(figure);
      return figure;
    });
    for (const [name, figure] of known) if (!names.includes(name)) figure.remove();
    for (const figure of figures) if (figure !== parent.children[figures.indexOf(figure)]) parent.append(figure);
    return figures.map((figure) => figure.lastChild);
  }

  function describe(plot, words, legend) {
    plot.setAttribute("aria-label", words);
    plot.previousSibling.replaceChildren(...legend.map(([color, text]) => {
      const item = element("li");
      const dot = element("i", undefined, "dot");
      dot.style.background = color;
      item.append(dot, text);
      return item;
    }));
  }

  function drawCharts() {
    const plots = plotsIn(byId("charts"), view.charts.map((chart) => chart.title));
    view.charts.forEach((chart, index) => {
      const newest = chart.lines.map((line) => `${line.name} ${short(line.values.findLast((value) => value !== null))}`);
      describe(plots[index], `By update; newest: ${newest.join(", ")}`, newest.map((text, line) => [LINES[line], text]));
      const traces = chart.lines.map((line, number) => ({
        name: line.name, x: line.updates, y: line.values, mode: line.updates.length > 1 ? "lines" : "markers",
        line: { color: LINES[number], width: 1.8 }, marker: { color: LINES[number] }, connectgaps: false,
        hovertemplate: chart.share ? "%{y:.1%}" : "%{y:.4~g}",
      }));
      const below = chart.lines.some((line) => line.values.some((value) => value < 0));
      Plotly.react(plots[index], traces, layout({
        xaxis: { title: { text: "update", standoff: 4 } },
        yaxis: chart.share
          ? { range: [0, 1.03], tickformat: ".0%" }
          : { exponentformat: "power", rangemode: below ? "normal" : "nonnegative" },
      }), OPTIONS);
    });
  }

  function drawHeat() {
    const { cells, updates, success, share } = view.heat;
    const names = cells.map((cell) => (view.heat.locked.includes(cell) ? `${cell} (locked)` : cell));
    const drawn = share.map((row) => row.map((value) => value || null));
    const maps = [
      { title: "rollouts right", z: success, colorscale: SHARE_SCALE },
      { title: "share of the problems", z: drawn, colorscale: "Blues", reversescale: !dark.matches },
    ];
    const plots = plotsIn(byId("heat"), maps.map((map) => map.title));
    maps.forEach(({ title, ...map }, index) => {
      describe(plots[index], `Heat map of ${title}, by cell and update`, []);
      const trace = {
        ...map, type: "heatmap", x: updates, y: names, zmin: 0, zmax: 1, hoverongaps: false,
        hovertemplate: "%{y}, update %{x}: %{z:.0%}<extra></extra>",
        colorbar: { thickness: 10, tickformat: ".0%", outlinewidth: 0 },
      };
      Plotly.react(plots[index], [trace], layout({
        height: 70 + 24 * cells.length, hovermode: "closest", xaxis: { title: { text: "update", standoff: 4 }, showgrid: false },
        yaxis: { autorange: "reversed", showgrid: false, type: "category" },
      }), OPTIONS);
    });
  }

  function drawTimeline() {
    const { spans, busy } = view.timeline;
    const shares = Object.entries(busy).map(([actor, share]) => `${actor} ${(100 * share).toFixed(0)}%`).join(" · ");
    const phases = [...new Set(spans.map((span) => span.phase))];
    const unnamed = phases.filter((phase) => !(phase in PHASES));
    const color = (phase) => PHASES[phase] || MORE_PHASES[unnamed.indexOf(phase) % MORE_PHASES.length];
    const [plot] = plotsIn(byId("timeline"), ["phases of the newest updates, by actor"]);
    describe(plot, `Busy: ${shares}`, phases.map((phase) => [color(phase), phase]));
    byId("busy").textContent = `Busy in the time shown: ${shares}`;
    const traces = phases.map((phase) => {
      const mine = spans.filter((span) => span.phase === phase);
      return {
        type: "bar", orientation: "h", name: phase, y: mine.map((span) => span.actor), base: mine.map((span) => span.start),
        x: mine.map((span) => span.seconds), customdata: mine.map((span) => span.update), marker: { color: color(phase) },
        hovertemplate: "update %{customdata}: %{x:.3~f} s",
      };
    });
    const actors = [...new Set(spans.map((span) => span.actor))];
    Plotly.react(plot, traces, layout({
      height: 60 + 30 * actors.length, barmode: "overlay", hovermode: "closest", xaxis: { title: { text: "seconds", standoff: 4 } },
      yaxis: { autorange: "reversed", type: "category" },
    }), OPTIONS);
  }

  function drawIncidents() {
    const table = byId("incidents");
    const keys = [...new Set(view.incidents.flatMap(Object.keys))];
    const heading = element("tr");
    heading.append(...keys.map((key) => element("th", key.replaceAll("_", " "))));
    table.tHead.replaceChildren(heading);
    const rows = [...view.incidents].reverse().map((incident) => {
      const row = element("tr");
      const text = (value) => (value === undefined || value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));
      row.append(...keys.map((key) => element("td", text(incident[key]))));
      return row;
    });
    table.tBodies[0].replaceChildren(...rows);
  }

  function derivation(each) {
    const side = element("article", undefined, "side");
    const kind = { "right answer, wrong steps": "right_answer_wrong_steps" }[each.verdict] || each.verdict;
    const heading = element("h4", each.cell);
    heading.append(element("span", each.verdict, `outcome kind-${kind}`));
    const where = [each.update === null ? "" : `update ${each.update}`, each.problem, each.reward === null ? "" : `reward ${short(each.reward)}`];
    const text = element("p", undefined, "derivation");
    for (const piece of each.pieces) {
      if (!piece.verdict) { text.append(piece.text); continue; }
      const mark = element("mark", piece.text, piece.verdict);
      if (piece.kind) mark.append(element("sup", piece.kind));
      text.append(mark);
    }
    side.append(heading, element("small", where.filter(Boolean).join(" · ")));
    if (each.prompt) side.append(element("p", each.prompt, "derivation quiet"));
    side.append(text);
    if (each.gold) side.append(element("p", `gold: ${each.gold}`, "derivation gold"));
    if (each.failure) side.append(element("small", each.failure));
    return side;
  }

  function draw() {
    document.title = `${view.recipe} · rlreason watch`;
    byId("recipe").textContent = view.recipe;
    byId("description").textContent = view.description;
    byId("problems").hidden = !view.problems.length;
    byId("problems").replaceChildren(...view.problems.map((problem) => element("li", problem)));
    showState();
    if (section("stages", view.stages.length)) drawStages();
    const focus = view.stages.find((stage) => stage.id === view.focus);
    byId("focus").textContent = focus ? focus.label : "";
    if (section("charts", view.charts.length)) drawCharts();
    if (section("heat", view.heat)) drawHeat();
    if (section("timeline", view.timeline.spans.length)) drawTimeline();
    if (section("incidents", view.incidents.length)) drawIncidents();
    if (section("derivations", view.derivations.length)) byId("derivations").replaceChildren(...view.derivations.map(derivation));
  }

  let asked = 0;
  async function load(anew) {
    const number = ++asked;
    const query = new URLSearchParams();
    if (chosen) query.set("stage", chosen);
    if (view && !anew) query.set("version", view.version);
    try {
      const answer = await fetch(`view.json?${query}`);
      if (number !== asked) return; // another stage was chosen meanwhile
      if (!answer.ok) throw new Error(answer.statusText);
      failed = false;
      if (answer.status === 200) {
        view = await answer.json();
        draw();
      } else showState();
    } catch {
      failed = true;
      showState();
    }
  }

  byId("follow").addEventListener("click", () => choose(null));
  dark.addEventListener("change", () => view && draw());
  load(true);
  setInterval(() => document.hidden || load(false), EVERY_MS);
})();
