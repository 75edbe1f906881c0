// Draws the page's charts from the JSON beside them when they come near the window, in the colours of the theme.
(() => {
  "use strict";
  if (typeof Plotly === "undefined") return;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const waiting = new Set(document.querySelectorAll(".plot"));
  const drawn = [];
  const options = { displaylogo: false, displayModeBar: false };

  function theme(printing) {
    const css = getComputedStyle(document.documentElement);
    const pick = (name, onPaper) => (printing ? onPaper : css.getPropertyValue(name).trim());
    return { text: pick("--text", "#222"), line: pick("--line", "#ddd"), family: css.fontFamily };
  }

  function painted({ data, layout }, { text, line, family }) {
    const axes = Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key));
    for (const axis of axes) layout[axis] = { ...layout[axis], gridcolor: line, linecolor: line };
    for (const trace of data) if (trace.error_y && trace.type === "bar") trace.error_y.color = text;
    return [data, { ...layout, autosize: true, font: { ...layout.font, color: text, family, size: 12 } }];
  }

  // not only the window's: a chart that is folded has no width until it is opened
  const widths = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) if (contentRect.width) Plotly.Plots.resize(target.querySelector(".plot"));
  });

  function draw(plot) {
    if (!waiting.delete(plot)) return;
    const figure = JSON.parse(plot.nextElementSibling.textContent);
    drawn.push([plot, figure]);
    Plotly.newPlot(plot, ...painted(figure, theme(false)), options);
    widths.observe(plot.parentElement);
  }

  function repaint(printing) {
    for (const [plot, figure] of drawn) Plotly.react(plot, ...painted(figure, theme(printing)), options);
  }

  const near = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => (near.unobserve(entry.target), draw(entry.target))),
    { rootMargin: "800px" },
  );
  waiting.forEach((plot) => near.observe(plot));
  dark.addEventListener("change", () => repaint(false));

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open]):not(.screen)")];
    folded.forEach((details) => (details.open = true));
    [...waiting].forEach(draw);
    repaint(true);
  });
  addEventListener("afterprint", () => {
    folded.forEach((details) => (details.open = false));
    repaint(false);
  });
})();
