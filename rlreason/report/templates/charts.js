// Draws the page's charts from the JSON beside them, in the colours of the current theme.
(() => {
  "use strict";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const plots = typeof Plotly === "undefined" ? [] : [...document.querySelectorAll(".plot")];

  function theme(printing) {
    const css = getComputedStyle(document.documentElement);
    const text = printing ? "#222" : css.getPropertyValue("--text").trim();
    const line = printing ? "#ddd" : css.getPropertyValue("--line").trim();
    const colors = { "font.color": text, "font.family": css.fontFamily, "font.size": 12 };
    for (const axis of ["xaxis", "yaxis"]) {
      colors[`${axis}.gridcolor`] = line;
      colors[`${axis}.linecolor`] = line;
    }
    return colors;
  }

  async function repaint(printing = false) {
    for (const plot of plots) {
      await Plotly.relayout(plot, theme(printing));
      const bars = plot.data.flatMap((trace, index) => (trace.error_y ? [index] : []));
      if (bars.length) await Plotly.restyle(plot, { "error_y.color": theme(printing)["font.color"] }, bars);
    }
  }

  async function draw() {
    for (const plot of plots) {
      const { data, layout } = JSON.parse(plot.nextElementSibling.textContent);
      await Plotly.newPlot(plot, data, { ...layout, autosize: true }, { responsive: true, displaylogo: false, displayModeBar: false });
    }
    await repaint();
  }

  draw();
  dark.addEventListener("change", () => repaint());
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
    repaint(true);
  });
  addEventListener("afterprint", () => repaint());
})();
