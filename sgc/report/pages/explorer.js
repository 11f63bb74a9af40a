// The page of the explorer: its state, what it asks of the server (the newest state alone), and what it shows of the answer.
"use strict";
(() => {
  const { element, words } = drawing;
  const model = JSON.parse(document.getElementById("model").textContent);
  const tab = Array.from(crypto.getRandomValues(new Uint32Array(2))).join("-");
  const first = model.rows.splits[0];
  const state = { row: first ? { rows: first.name, place: 0 } : { rows: "", place: 0 }, nodes: {}, inferred: "q", taken: "centers", seed: 0 };
  const brought = [];
  let number = 0, answer = null, start = null, known = "", posterior = {}, focused = null, traversedFor = "", inferredOf = "";
  const byId = (id) => document.getElementById(id);

  // ---- asking

  const call = async (path, more = {}) => {
    number += 1;
    if (number % 500 === 0) performance.clearMeasures();
    let response;
    try {
      response = await fetch(`/api/${path}`, { method: "POST", body: JSON.stringify({ tab, number, ...more }),
        headers: { "Content-Type": "application/json", "X-Sgc-Key": model.key } });
    } catch {
      throw new Error("The explorer does not answer: it has been stopped, or its machine cannot be reached.");
    }
    if (!response.ok) throw new Error(await response.text());
    const told = await response.json();
    if (told.fault) throw new Error(told.fault);
    return told.stale ? null : told;
  };
  const complain = (problem) => {
    const place = byId("fault");
    place.hidden = !problem;
    place.textContent = problem ? problem.message : "";
  };
  // asks for the newest state alone: while one is computed, those that come in between are left out
  class Newest {
    constructor(work) { Object.assign(this, { work, running: false, wanted: false }); }
    async ask() {
      this.wanted = true;
      if (this.running) return;
      this.running = true;
      while (this.wanted) {
        this.wanted = false;
        try { await this.work(); } catch (problem) { complain(problem); }
      }
      this.running = false;
    }
  }
  const later = (work, wait) => {
    let timer = 0;
    return () => { clearTimeout(timer); timer = setTimeout(work, wait); };
  };

  let movedAt = 0;
  const showing = new Newest(async () => {
    const moved = movedAt;
    const told = await call("show", { ...state, known });
    if (!told) return;
    complain(told.notes.length ? new Error(told.notes.join("; ")) : null);
    answer = told;
    if (told.start) { start = told.start; }
    const fresh = told.known !== known;
    known = told.known;
    const row = JSON.stringify(state.row);
    if (row !== inferredOf) posterior = {}; // of an edited row the old one stays until the new one is there
    inferredOf = row;
    render();
    if (moved) requestAnimationFrame(() => setTimeout(() => performance.measure("slider to picture", { start: moved }))); // once it is painted
    if (fresh) soonPosterior();
    soonTraversal();
    soonWords();
  });
  const inferring = new Newest(async () => {
    const told = await call("posterior", state);
    if (!told) return;
    posterior = told.nodes;
    byId("weighed").textContent = told.words;
    for (const each of cards) each.posterior(posterior[each.node]);
  });
  const traversing = new Newest(async () => {
    if (!focused || !answer) return;
    const asked = { ...state, node: focused.node, element: focused.place };
    const told = await call("traverse", asked);
    if (told) renderTraversal(told);
  });
  const ask = () => { movedAt = performance.now(); showing.ask(); };
  const soonPosterior = later(() => inferring.ask(), 60);
  const soonTraversal = later(() => {
    const wanted = JSON.stringify([focused, state]);
    if (focused && wanted !== traversedFor) { traversedFor = wanted; traversing.ask(); }
  }, 220);
  const soonWords = later(() => { byId("words").textContent = sentence(); }, 400);

  // ---- states of nodes

  const allowed = (control) => {
    if (control.part === "observed") return state.row.rows ? ["free", ...(control.elements.length ? ["turned"] : []), ...(control.hideable ? ["hidden"] : [])] : [];
    const states = control.elements.length ? ["free", "held", "turned"] : ["free", "held"];
    return control.part === "label" && state.row.rows && control.elements.length ? [...states, "evidence"] : states;
  };
  const stateOf = (node) => state.nodes[node]?.state ?? "free";
  const valueNow = (node) => state.nodes[node]?.value ?? answer?.values[node]?.value ?? null;
  const setState = (control, step, wanted) => {
    const node = control.nodes[step];
    const value = control.elements.length ? answer?.values[node]?.value ?? valueNow(node) : null;
    const how = answer?.values[node]?.how ?? "";
    if (wanted === "free") delete state.nodes[node];
    else if (wanted === "held") {
      const asInferred = state.row.rows && !how.endsWith("anew") && !["turned", "evidence"].includes(stateOf(node));
      state.nodes[node] = { state: "held", value: asInferred ? null : value };
    } else if (wanted === "evidence") state.nodes[node] = { state: "evidence", value: start?.labels?.[node] ?? value };
    else if (wanted === "hidden") state.nodes[node] = { state: "hidden", value: null };
    else state.nodes[node] = { state: "turned", value };
    ask();
  };
  const setValue = (control, step, place, value) => {
    const node = control.nodes[step];
    const before = state.nodes[node];
    // where the others make room, the server says what they are now; while one is moved, they make room from where they were
    const base = control.balanced && before?.place !== place ? answer?.values[node]?.value : valueNow(node);
    const values = [...(base ?? control.elements.map((each) => each.low))];
    values[place] = value;
    state.nodes[node] = { state: stateOf(node) === "evidence" ? "evidence" : "turned", value: values, place };
    focused = { node, place };
    ask();
  };
  const acts = {
    setState, setValue,
    focus: (control, step, place) => { focused = { node: control.nodes[step], place }; soonTraversal(); },
    stepped: (card) => { if (answer) { card.show(answer.values[card.node], stateOf(card.node), allowed(card.control)); card.posterior(posterior[card.node]); card.overview(answer.values, stateOf); markGraphs(); } },
  };
  const cards = model.controls.map((control) => new controls.Control(control, acts));
  byId("controls").append(...cards.map((each) => each.card));

  // ---- what is shown

  const sentence = () => {
    if (!answer) return "";
    const outer = (node) => model.controls.find((one) => one.nodes.includes(node)) ?? { name: node, nodes: [node] };
    const grouped = (pairs) => { // the steps of a node together
      const counts = new Map();
      for (const [node, word] of pairs) {
        const { name, nodes } = outer(node);
        const key = JSON.stringify([name, word]);
        counts.set(key, { word, name, nodes: [...(counts.get(key)?.nodes ?? []), node], of: nodes.length });
      }
      return [...counts.values()].map((each) => (each.nodes.length < 4 ? `${each.nodes.join(", ")} ${each.word}` : `${each.nodes.length} of ${each.of} steps of ${each.name} ${each.word}`));
    };
    const changed = grouped(Object.entries(state.nodes).map(([node, each]) => [node, { held: "held", turned: "turned", evidence: "told to q", hidden: "hidden from q" }[each.state]]));
    const anew = grouped(answer.anew.map(([node, role]) => [node, `${role === "generative" ? "generated" : "proposed"} anew`]));
    const rest = state.row.rows ? `the rest as ${state.inferred === "q" ? "q infers it" : "the posterior has it"}` : "the rest from p";
    const row = start?.row ? `${start.row.rows} row ${start.row.number}` : "Without a row";
    const all = changed.length ? [...changed, ...anew, rest] : [state.row.rows ? rest.replace("the rest ", "") : "everything from p"];
    return `${row}: ${all.join(", ")}.`;
  };
  const captioned = (word, content) => element("figure", { class: "view" }, content, element("figcaption", {}, word));
  const renderShown = (shown) => {
    const now = answer.shown[shown.name];
    const own = start?.own?.[shown.name], before = start?.before?.[shown.name];
    const turned = Object.keys(state.nodes).length > 0;
    const views = [];
    if (!now && !own) return null;
    if (shown.kind === "picture") {
      if (own) views.push(captioned("the row", drawing.picture(own, `${shown.name} of the row`)));
      if (before) views.push(captioned(own ? "as inferred" : "at first", drawing.picture(before, `${shown.name} before anything is turned`)));
      if (now) views.push(captioned("now", drawing.picture(now, `${shown.name} now`)));
      if (now && before) views.push(captioned(turned ? "change" : "no change", drawing.change(before, now, `change of ${shown.name}: red is more, blue is less`)));
    } else if (shown.kind === "shares") {
      const each = (value, word) => captioned(word, value.rows.length === 1 ? drawing.shareBars(shown.names, value.rows[0], `${shown.name}, ${word}`)
        : element("div", { class: "heat" }, element("span", { class: "soft" }, ...shown.names.flatMap((name) => [name, element("br")])),
          drawing.shareSteps(shown.names, value.rows, `${shown.name}, ${word}: a column a step`)));
      if (now) views.push(each(now, "now"));
    } else {
      const columns = [["the row", own], [start?.row ? "as inferred" : "at first", before], ["now", now]].filter(([, value]) => value);
      if (shown.lines) {
        const channels = (value) => value.rows[0].map((_, c) => value.rows.map((row) => row[c]));
        const count = channels(columns[0][1]).length;
        for (let c = 0; c < count; c++) {
          const series = columns.map(([word, value]) => ({ class: { "the row": "own", now: "now" }[word] ?? "before", values: channels(value)[c] }));
          views.push(captioned(count > 1 ? `${shown.names[c] ?? c}` : shown.name, drawing.lines(series, `${shown.name}: the row grey, now in colour`)));
        }
      } else views.push(drawing.numberTable(shown.names, columns.map(([word, value]) => [word, value.rows[0]]), shown.name));
    }
    const legend = shown.lines ? element("span", { class: "legend soft" }, own ? element("span", { class: "own" }, "the row") : null,
      before ? element("span", { class: "before" }, own ? "as inferred" : "at first") : null, element("span", { class: "now" }, "now")) : null;
    return element("div", { class: `shown ${shown.kind}${turned ? " turned" : ""}` }, element("h3", {}, shown.name, legend), element("div", { class: "views" }, ...views));
  };
  const renderTraversal = (told) => {
    const control = model.controls.find((each) => each.nodes.includes(told.node));
    const named = control.elements[told.element].name;
    const blocks = [];
    const ends = [told.words[0], told.words[told.words.length - 1]];
    for (const [node, rows] of Object.entries(told.labels)) { // what q says of the labels
      const label = model.controls.find((each) => each.nodes.includes(node));
      const names = label.categories ?? label.elements.map((each) => each.name);
      const plots = names.slice(0, 12).map((name, i) => captioned(label.categories ? `q(${node} = ${name})` : `q's ${name}`,
        drawing.lines([{ class: "answer", values: rows.map((row) => row[i]) }], `${name} by q over ${named}`, ends)));
      blocks.push(element("div", { class: "plots" }, ...plots));
    }
    for (const shown of model.shown) {
      const values = told.shown[shown.name];
      if (!values) continue;
      if (shown.kind === "picture") {
        blocks.push(element("div", { class: "strip", style: `--frames:${values.length}` }, ...values.map((value, i) => element("button", { type: "button", class: "frame",
          onclick: () => { setValue(control, control.nodes.indexOf(told.node), told.element, told.at[i]); } },
          drawing.picture(value, `${shown.name} at ${told.words[i]}`), element("span", {}, told.words[i].replace("-", "−"))))));
      } else if (!shown.lines && values[0].rows.length === 1) {
        const count = Math.min(values[0].rows[0].length, 12);
        const plots = Array.from({ length: count }, (_, i) => captioned(shown.names[i] ?? String(i),
          drawing.lines([{ class: "now", values: values.map((value) => value.rows[0][i]) }], `${shown.names[i]} over ${named}`, ends)));
        blocks.push(element("div", { class: "plots" }, ...plots));
      }
    }
    byId("traversal").replaceChildren(...(blocks.length ? [element("h3", {}, `${named} through its range`), ...blocks] : []));
  };
  const markGraphs = () => {
    for (const place of document.querySelectorAll("[data-node]")) {
      const card = cards.find((each) => each.control.name === place.dataset.node);
      place.dataset.words ??= place.getAttribute("aria-label");
      if (!card || !allowed(card.control).length) {
        place.setAttribute("aria-disabled", "true");
        place.dataset.state = "none";
        continue;
      }
      place.removeAttribute("aria-disabled");
      place.dataset.state = stateOf(card.node);
      const step = card.control.nodes.length > 1 ? `, step ${card.step + 1}` : "";
      place.setAttribute("aria-label", `${place.dataset.words}; ${{ evidence: "told to q", hidden: "hidden from q" }[place.dataset.state] ?? place.dataset.state}${step}`);
      const anew = answer?.anew.some(([node]) => node === card.node);
      place.classList.toggle("follows", Boolean(anew));
    }
  };
  const render = () => {
    const content = model.shown.map(renderShown).filter(Boolean);
    byId("shown").replaceChildren(...(content.length ? content : [element("p", { class: "soft" }, "Everything that p generates is held or told.")]));
    for (const each of cards) {
      each.show(answer.values[each.node], stateOf(each.node), allowed(each.control));
      each.posterior(posterior[each.node]);
      each.overview(answer.values, stateOf);
    }
    markGraphs();
    renderBar();
  };
  for (const place of document.querySelectorAll("[data-node]")) {
    const cycle = () => {
      const card = cards.find((each) => each.control.name === place.dataset.node);
      const states = card ? allowed(card.control) : [];
      if (!states.length) return;
      setState(card.control, card.step, states[(states.indexOf(stateOf(card.node)) + 1) % states.length]);
    };
    place.addEventListener("click", cycle);
    place.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      cycle();
    });
  }

  // ---- where it begins

  const begin = (row) => { // what was told of one row is not true of another; what is turned stays
    for (const [node, each] of Object.entries(state.nodes)) {
      const control = model.controls.find((one) => one.nodes.includes(node));
      if (each.state === "evidence" || control.part === "observed" || (each.state === "held" && each.value === null && !row.rows)) delete state.nodes[node];
    }
    state.row = { rows: row.rows, place: row.place };
    ask();
  };
  const walk = async (way, value = 0, node = "") => {
    try {
      const found = await call("walk", { row: state.row, way, value, node });
      if (found) begin(found);
    } catch (problem) { complain(problem); }
  };
  const bring = async (name, content, inverted) => {
    try {
      const found = await call("bring", { name, content, inverted });
      if (!found) return;
      brought.push({ name: found.rows, count: found.count });
      fillRows();
      begin(found);
    } catch (problem) { complain(problem); }
  };
  const base64 = (buffer) => {
    const view = new Uint8Array(buffer);
    let text = "";
    for (let i = 0; i < view.length; i += 32768) text += String.fromCharCode(...view.subarray(i, i + 32768));
    return btoa(text);
  };
  const rowsChoice = element("select", { "aria-label": "Begin with", onchange: () => begin({ rows: rowsChoice.value, place: 0 }) });
  const fillRows = () => rowsChoice.replaceChildren(
    ...model.rows.splits.map((each) => element("option", { value: each.name }, `${each.name} rows (${each.count})`)),
    ...brought.map((each) => element("option", { value: each.name }, `${each.name}: ${each.count} row${each.count > 1 ? "s" : ""}`)),
    element("option", { value: "" }, "no row: p alone"));
  fillRows();
  const rowNumber = element("input", { type: "number", min: 0, step: 1, "aria-label": "Number of the row", onchange: () => walk("number", rowNumber.valueAsNumber || 0) });
  const button = (word, act, label) => element("button", { type: "button", onclick: act, "aria-label": label }, word);
  const rowTools = element("span", { class: "tools" }, button("◀", () => walk("step", -1), "Previous row"), rowNumber, button("▶", () => walk("step", 1), "Next row"), button("Random", () => walk("random")));
  const searched = Object.entries(model.rows.labels);
  const search = searched.length ? element("select", { "aria-label": "Next row with the label", onchange: () => {
    if (search.value) { const [node, value] = JSON.parse(search.value); walk("label", value, node); }
    search.value = "";
  } }, element("option", { value: "" }, "next with …"), ...searched.flatMap(([node, names]) => names.map((name, i) => element("option", { value: JSON.stringify([node, i]) }, `${node} = ${name}`)))) : null;
  if (search) rowTools.append(search);
  const labels = element("span", { class: "labels soft" });
  const inferredBy = element("select", { "aria-label": "Inferred by", onchange: () => { state.inferred = inferredBy.value; ask(); } },
    element("option", { value: "q" }, "inferred by q"), element("option", { value: "posterior" }, "inferred by the posterior"));
  const taken = element("select", { "aria-label": "Values of free nodes", onchange: () => { state.taken = taken.value; ask(); } },
    element("option", { value: "centers" }, "nodes at their means"), element("option", { value: "draws" }, "latent nodes drawn"), element("option", { value: "all" }, "all drawn"));
  const again = button("Draw again", () => { state.seed += 1; ask(); });
  const reset = button("Let all go", () => { state.nodes = {}; ask(); });
  const file = element("input", { type: "file", "aria-label": "A file of rows, or a picture", onchange: async () => {
    if (file.files[0]) await bring(file.files[0].name, base64(await file.files[0].arrayBuffer()), inverted.checked);
    file.value = "";
  } });
  const inverted = element("input", { type: "checkbox" });
  const pasted = element("textarea", { rows: 3, "aria-label": "Rows as csv, with a line of names", placeholder: "csv: a line of names, then a row a line" });
  const bringing = element("details", { class: "bring" }, element("summary", {}, "Bring rows"),
    element("p", {}, file, " ", element("label", {}, inverted, " exchange dark and light of a picture")),
    element("p", {}, pasted, button("Take them", () => bring("pasted.csv", base64(new TextEncoder().encode(pasted.value)), false))));
  const weighed = element("span", { id: "weighed", class: "soft" });
  byId("start").append(element("span", { class: "tools" }, rowsChoice), rowTools, labels, element("span", { class: "tools" }, inferredBy, taken, again, reset), weighed, bringing);
  if (model.rows.missing) byId("start").append(element("p", { class: "note" }, `Without the rows of the run: ${model.rows.missing}`));
  const renderBar = () => {
    rowsChoice.value = state.row.rows;
    rowTools.hidden = inferredBy.hidden = !state.row.rows;
    again.hidden = state.taken === "centers";
    reset.disabled = !Object.keys(state.nodes).length;
    if (start?.row && document.activeElement !== rowNumber) rowNumber.value = start.row.number;
    const told = Object.entries(start?.labels ?? {}).filter(([node]) => !node.includes("@")).map(([node, value]) => {
      const control = model.controls.find((one) => one.nodes.includes(node));
      return `${node} = ${value.map((each) => (control.categories ? control.categories[each] : words(each))).join(", ")}`;
    });
    labels.textContent = start?.row ? (told.length ? `labelled ${told.join("; ")}` : "no label") : "";
  };
  ask();
})();
