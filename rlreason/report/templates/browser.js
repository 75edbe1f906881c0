// Filters the derivations of the page; what is chosen stands in the address (#derivations?arm=...), so it can be linked.
(() => {
  "use strict";
  const form = document.getElementById("browse");
  if (!form) return;
  const names = ["level", "arm", "beside", "sample", "outcome", "error", "problem"];
  const problems = [...document.querySelectorAll("article.problem")].map((element) => ({
    element,
    sides: [...element.querySelectorAll(".side")],
  }));
  const values = (name) => [...form.elements[name].options].map((option) => option.value);
  const start = { sample: "greedy", level: values("level")[1], arm: values("arm")[1], beside: values("arm")[2] };

  function state() {
    return Object.fromEntries(names.map((name) => [name, form.elements[name].value]));
  }

  function choose(chosen) {
    for (const name of names) {
      const value = chosen[name] ?? "";
      form.elements[name].value = values(name).includes(value) ? value : "";
    }
  }

  function show() {
    const want = state();
    let shown = 0;
    for (const { element, sides } of problems) {
      let matches = false;
      for (const side of sides) {
        const { arm, sample, outcome, error } = side.dataset;
        const first = !want.arm || arm === want.arm;
        const visible = (first || arm === want.beside) && (!want.sample || sample === want.sample);
        side.hidden = !visible;
        matches ||= visible && first && (!want.outcome || outcome === want.outcome) && (!want.error || error === want.error);
      }
      const here = !want.level || element.dataset.level === want.level;
      const asked = !want.problem || element.dataset.problem === want.problem;
      element.hidden = !(matches && here && asked);
      shown += element.hidden ? 0 : 1;
    }
    for (const option of form.elements.problem.options) {
      option.hidden = Boolean(want.level && option.dataset.level && option.dataset.level !== want.level);
    }
    form.querySelector("output").textContent = `${shown} of ${problems.length} problems`;
  }

  function remember() {
    const chosen = Object.entries(state()).filter(([, value]) => value);
    history.replaceState(null, "", `#derivations?${new URLSearchParams(chosen)}`);
  }

  function follow() {
    const [section, query] = location.hash.slice(1).split("?");
    if (section !== "derivations" || query === undefined) return false;
    choose(Object.fromEntries(new URLSearchParams(query)));
    show();
    document.getElementById("derivations").scrollIntoView();
    return true;
  }

  form.addEventListener("change", (event) => {
    if (event.target.name === "level") form.elements.problem.value = "";
    show();
    remember();
  });
  form.addEventListener("reset", () => setTimeout(() => (choose({}), show(), remember())));
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", follow);
  form.hidden = false;
  if (!follow()) {
    choose(start);
    show();
  }
})();
