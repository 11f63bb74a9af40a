// Draws each chart of the page with Vega-Lite, in the page's own colours, and again where these or the width change.
"use strict";
(() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const font = () => getComputedStyle(document.body).fontFamily;
  const config = () => ({
    background: "transparent", font: font(), view: { stroke: null },
    axis: { labelColor: colour("soft"), titleColor: colour("ink"), gridColor: colour("line"), domainColor: colour("line"),
            tickColor: colour("line"), titleFontWeight: "normal", labelFontSize: 12, titleFontSize: 13 },
    legend: { labelColor: colour("ink"), titleColor: colour("ink"), labelFontSize: 12, titleFontSize: 13, titleFontWeight: "normal" },
    header: { labelColor: colour("ink"), titleColor: colour("ink") },
    title: { color: colour("ink"), fontWeight: 600, fontSize: 14, anchor: "start" },
    text: { color: colour("ink") }, mark: { color: colour("accent") }, rule: { color: colour("soft") },
  });
  const merged = (below, above) => {
    const both = { ...below };
    for (const [key, value] of Object.entries(above || {}))
      both[key] = value && typeof value === "object" && !Array.isArray(value) ? merged(below[key] || {}, value) : value;
    return both;
  };
  const views = new Map();
  const draw = (place) => {
    const spec = JSON.parse(document.getElementById(place.dataset.spec).textContent);
    const compiled = vegaLite.compile({ ...spec, config: merged(config(), spec.config) }).spec;
    const view = new vega.View(vega.parse(compiled, undefined, { ast: true }), {
      expr: vega.expressionInterpreter, renderer: "svg", container: place, hover: true, tooltip: tip,
    });
    if (views.has(place)) views.get(place).finalize();
    views.set(place, view);
    return view.runAsync();
  };
  const box = document.createElement("div");
  box.className = "tip";
  box.hidden = true;
  const tip = (handler, event, item, value) => {
    box.hidden = value === null || value === undefined || value === "";
    if (box.hidden) return;
    box.textContent = typeof value === "object"
      ? Object.entries(value).map(([key, what]) => `${key}: ${what}`).join("\n") : String(value);
    box.style.left = `${Math.min(event.clientX + 12, window.innerWidth - box.offsetWidth - 8)}px`;
    box.style.top = `${event.clientY + 12}px`;
  };
  document.body.append(box);
  const places = [...document.querySelectorAll(".chart")];
  const drawAll = () => Promise.all(places.map(draw)).then(() => { document.documentElement.dataset.charts = "drawn"; });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  let width = window.innerWidth, waiting = 0;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(drawAll, 150);
  });
  drawAll();
})();
