// Opens the card of a node that is pointed at, tapped or focused; lights what belongs together; zooms the graphs.
"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const card = document.getElementById("card"), guide = document.getElementById("guide");
  const side = card.parentElement, overview = side.parentElement;
  const names = (element) => element.dataset.nodes.split(" ");
  const still = window.matchMedia("(hover: none)");
  let pinned = false, quiet = false, pressed = false, opener = null, waiting = 0, shown = "";

  // ---- what belongs together
  const light = (nodes, own) => {
    const lit = new Set(nodes);
    document.body.classList.toggle("lighting", lit.size > 0);
    for (const each of all("[data-node]")) each.classList.toggle("lit", lit.has(each.dataset.node));
    for (const each of all("[data-nodes]"))
      each.classList.toggle("lit", own ? each === own || each.id === own.hash?.slice(1) : lit.size > 0 && names(each).some((name) => lit.has(name)));
    for (const each of all(".edge[data-from]")) {
      const { from, to } = each.dataset;
      each.classList.toggle("lit", own ? lit.has(from) && lit.has(to) : lit.has(from) || lit.has(to));
    }
  };
  const neighbours = (name) => {
    light([name]);
    for (const edge of all(".sgc-graphs .edge.lit"))
      for (const each of all(".node", edge.closest("svg")))
        if ([edge.dataset.from, edge.dataset.to].includes(each.dataset.node)) each.classList.add("lit");
  };
  const choose = (name) => { for (const each of all(".node")) each.classList.toggle("chosen", !!name && each.dataset.node === name); };

  // ---- the card
  const inView = () => {
    const place = side.getBoundingClientRect();
    return place.width > 280 && place.top < innerHeight * 0.6 && place.bottom > 160;
  };
  const show = (name) => {
    const source = all("[data-card]").find((each) => each.dataset.card === name);
    if (!source) return;
    clearTimeout(waiting);
    if (shown !== name || card.hidden) {
      const content = source.cloneNode(true);
      const close = document.createElement("button");
      close.type = "button";
      close.className = "close";
      close.textContent = "✕";
      close.setAttribute("aria-label", "Close the card");
      close.addEventListener("click", () => hide(true));
      const body = document.createElement("div");
      body.className = "card-body";
      body.append(...content.childNodes);
      card.replaceChildren(close, body);
      card.scrollTop = 0;
    }
    shown = name;
    const floating = overview.classList.contains("stacked") || window.innerWidth < 992 || !inView();
    card.hidden = false;
    card.classList.toggle("floating", floating);
    guide.hidden = !floating;
    choose(name);
  };
  const hide = (back) => {
    clearTimeout(waiting);
    if (card.hidden) return;
    const inside = card.contains(document.activeElement);
    card.hidden = true;
    guide.hidden = false;
    pinned = false;
    shown = "";
    choose("");
    light([]);
    if (!back || !opener || !(inside || document.activeElement === document.body)) return;
    quiet = true; // the card that was closed stays closed
    opener.focus();
    quiet = false;
  };
  const later = () => {
    clearTimeout(waiting);
    if (!pinned && card.classList.contains("floating")) waiting = setTimeout(() => hide(false), 500);
  };

  // ---- pointing, focusing, choosing
  const belongs = (target) => {
    const node = target.closest?.("[data-node]"), term = target.closest?.("[data-nodes]");
    if (node && !(term && node.localName === "mi")) neighbours(node.dataset.node);
    else if (term) light(names(term), term);
    else return false;
    return true;
  };
  const attend = (target) => {
    if (!belongs(target) && !belongs(document.activeElement)) light([]);
    const node = target.closest?.(".node[data-node]");
    if (node && !pinned) show(node.dataset.node);
  };
  document.addEventListener("pointerover", (event) => {
    if (event.pointerType === "touch") return;
    if (card.contains(event.target)) clearTimeout(waiting);
    attend(event.target);
  });
  document.addEventListener("pointerout", (event) => {
    if (event.target.closest?.("[data-node]") || card.contains(event.target)) later();
  });
  document.addEventListener("pointerdown", () => { pressed = true; });
  for (const end of ["pointerup", "pointercancel", "click"]) document.addEventListener(end, () => { setTimeout(() => { pressed = false; }); });
  document.addEventListener("focusin", (event) => {
    if (quiet || pressed) belongs(event.target); // a click comes, unless the card slips under it
    else attend(event.target);
  });
  document.addEventListener("focusout", (event) => {
    const next = event.relatedTarget;
    if (!next || (!card.contains(next) && !next.closest?.("[data-node]"))) later();
  });
  document.addEventListener("click", (event) => {
    const node = event.target.closest?.("a[data-node]");
    if (!node) {
      const term = event.target.closest?.("a[data-nodes]");
      if (term && card.contains(term) && card.classList.contains("floating")) hide(false);
      else if (!card.contains(event.target) && still.matches) hide(false);
      return;
    }
    event.preventDefault();
    if (!card.contains(node)) opener = node;
    pinned = true;
    show(node.dataset.node);
    neighbours(node.dataset.node);
    if (event.detail === 0) card.focus({ preventScroll: true });
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide(true);
  });

  // ---- the size of the graphs
  const graphs = document.querySelector(".sgc-graphs");
  const natural = Math.max(...all("svg.graph", graphs).map((each) => each.viewBox.baseVal.width));
  const room = () => graphs.querySelector(".panel-scroll").clientWidth;
  let zoom = 1;
  const resize = (size) => {
    zoom = Math.min(2.5, Math.max(0.3, size));
    graphs.style.setProperty("--zoom", zoom);
  };
  const bar = document.createElement("div");
  bar.className = "zoom screen-only";
  const button = (text, label, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.setAttribute("aria-label", label);
    made.addEventListener("click", act);
    bar.append(made);
  };
  button("−", "Smaller graphs", () => resize(zoom / 1.25));
  button("+", "Larger graphs", () => resize(zoom * 1.25));
  button("fit", "Fit the graphs to the width", () => { resize(1); resize(Math.min(1, room() / natural)); });
  if (natural > 300) graphs.append(bar);
  resize(Math.max(0.62, Math.min(1, room() / natural)));

  const strip = () => {
    const high = getComputedStyle(overview).position === "sticky" ? overview.offsetHeight : 0;
    document.documentElement.style.setProperty("--strip", `${high}px`);
  };
  strip();
  window.addEventListener("resize", strip);

  // ---- a formula with a long name scrolls, by keyboard too
  const wide = () => {
    for (const each of all(".bound, .product, .formula, dd")) {
      if (each.scrollWidth > each.clientWidth + 1) each.tabIndex = 0;
      else each.removeAttribute("tabindex");
    }
  };
  wide();
  window.addEventListener("resize", wide);
  for (const each of all("details")) each.addEventListener("toggle", wide);

  // ---- on paper everything is unfolded
  let folded = [];
  window.addEventListener("beforeprint", () => { hide(false); folded = all("details:not([open])"); for (const each of folded) each.open = true; });
  window.addEventListener("afterprint", () => { for (const each of folded) each.open = false; });
  document.documentElement.dataset.page = "ready";
})();
