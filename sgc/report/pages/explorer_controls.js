// The controls of the explorer: for each node or input its state, and sliders, steppers, buttons or a list for its value.
"use strict";
const controls = ((draw) => {
  const { element, words } = draw;
  const FEW = 8; // elements that are shown at first, where there are many
  const MANY = 16;
  const FAR = 100; // ranges of a slider beyond it, in which a number is taken
  const BUTTONS = 12; // categories that are buttons; more are a list
  const PARTS = { latent: "latent", label: "label", input: "input", observed: "observed" };
  const STATES = [["free", "free"], ["held", "held"], ["turned", "turned"], ["evidence", "told to q"], ["hidden", "hidden from q"]];
  const digits = (step) => Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9)));
  const short = (value, each) => String(+value.toFixed(each.whole ? 0 : Math.max(2, digits(each.step))));

  // acts: {states(control), setState(control, step, state), setValue(control, step, place, value), focus(control, step, place)}
  class Control {
    constructor(control, acts) {
      Object.assign(this, { control, acts, step: 0, value: [], sliders: [], all: control.elements.length <= MANY });
      this.body = element("div", { class: "body" });
      this.how = element("span", { class: "how soft" });
      const name = `state-${control.name}`;
      this.radios = STATES.map(([state, word]) => {
        const radio = element("input", { type: "radio", name, value: state, onchange: () => acts.setState(control, this.step, state) });
        return { state, radio, label: element("label", { class: `state ${state}` }, radio, word) };
      });
      const states = element("fieldset", { class: "states" }, element("legend", { class: "hidden" }, `State of ${control.name}`),
        ...this.radios.map((each) => each.label));
      const unread = control.reaches.length || control.part === "observed" ? null
        : element("p", { class: "soft" }, "What is shown does not depend on it.");
      const card = element("section", { class: "card", id: `node-${control.name}` },
        element("div", { class: "head" }, element("h3", {}, control.name), element("span", { class: "soft" }, PARTS[control.part]), this.how, states),
        this.steps(), unread, this.body);
      this.card = card;
      this.fill();
    }

    get node() { return this.control.nodes[this.step]; }

    steps() {
      const count = this.control.nodes.length;
      if (count < 2) return null;
      this.stepper = element("input", { type: "range", min: 1, max: count, step: 1, value: 1, "aria-label": `Step of ${this.control.name}`,
        oninput: () => this.toStep(+this.stepper.value - 1) });
      this.stepWord = element("output", {}, `step 1 of ${count}`);
      this.all_steps = element("div", { class: "heat", hidden: true });
      return element("div", {}, this.all_steps, element("div", { class: "stepper" }, this.stepWord, this.stepper));
    }

    // the categories of all steps as a picture, and which steps are not free
    overview(values, stateOf) {
      const { control } = this;
      if (control.nodes.length < 2) return;
      const changed = control.nodes.map((node, i) => (stateOf(node) === "free" ? null : i + 1)).filter(Boolean);
      this.stepWord.textContent = `step ${this.step + 1} of ${control.nodes.length}` + (changed.length ? `; not free: ${changed.slice(0, 8).join(", ")}${changed.length > 8 ? " …" : ""}` : "");
      if (!control.categories || control.elements.length > 1 || control.categories.length > BUTTONS) return;
      const rows = control.nodes.map((node) => control.categories.map((_, i) => (values[node]?.how !== "absent" && values[node]?.value[0] === i ? 1 : 0)));
      this.all_steps.hidden = false;
      this.all_steps.replaceChildren(element("span", { class: "soft" }, ...control.categories.flatMap((name) => [name, element("br")])),
        draw.shareSteps(control.categories, rows, `${control.name}: a column a step`));
    }

    toStep(step) {
      this.step = step;
      this.stepper.value = step + 1;
      this.stepWord.textContent = `step ${step + 1} of ${this.control.nodes.length}`;
      this.acts.stepped(this);
    }

    fill() {
      const { control } = this;
      if (!control.elements.length) {
        this.body.replaceChildren(element("p", { class: "soft" }, control.hideable ? "q can do without it." : "Too large to be turned by hand."));
        return;
      }
      const places = this.all ? control.order : control.order.slice(0, FEW);
      const rows = places.map((place) => (control.categories ? this.choice(place) : this.slider(place)));
      const more = this.all ? null : element("button", { type: "button", class: "more", onclick: () => { this.all = true; this.fill(); this.acts.stepped(this); } },
        `Show all ${control.elements.length}${control.part === "latent" ? ", those that vary less too" : ""}`);
      this.body.replaceChildren(...rows, ...(more ? [more] : []));
    }

    // ---- one element

    choice(place) {
      const { control } = this;
      const set = (value) => this.acts.setValue(control, this.step, place, value);
      const single = control.elements.length === 1;
      const label = single ? control.name : control.elements[place].name;
      if (control.categories.length <= BUTTONS && control.elements.length <= 4) {
        const buttons = control.categories.map((word, value) => element("button", {
          type: "button", class: "category", "aria-pressed": "false", onclick: () => set(value),
          onfocus: () => this.acts.focus(control, this.step, place) },
          element("span", { class: "word" }, word), element("span", { class: "share" })));
        this.sliders[place] = { buttons };
        return element("div", { class: "categories", role: "group", "aria-label": label }, single ? null : element("span", { class: "soft" }, label), ...buttons);
      }
      const select = element("select", { "aria-label": label, onchange: () => set(+select.value), onfocus: () => this.acts.focus(control, this.step, place) },
        ...control.categories.map((word, value) => element("option", { value }, word)));
      const shares = element("div", { class: "shares" });
      this.sliders[place] = { select, shares };
      return element("div", { class: "choice" }, single ? null : element("span", { class: "name" }, label), select, shares);
    }

    slider(place) {
      const { control } = this;
      const each = control.elements[place];
      const set = (value) => { if (Number.isFinite(value)) this.acts.setValue(control, this.step, place, value); };
      const focus = () => this.acts.focus(control, this.step, place);
      const range = element("input", { type: "range", min: each.low, max: each.high, step: each.whole ? 1 : "any", value: each.low,
        "aria-label": each.name, oninput: () => set(+range.value), onfocus: focus });
      range.addEventListener("keydown", (event) => { // a slider of any number has no steps of its own
        const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
        if (!by || each.whole) return;
        event.preventDefault();
        const next = Math.min(each.high, Math.max(each.low, +range.value + by * each.step));
        range.value = next;
        set(+next.toPrecision(9));
      });
      const number = element("input", { type: "number", step: each.whole ? 1 : "any", "aria-label": `${each.name}, as a number`,
        onchange: () => {
          const beyond = FAR * (each.high - each.low);
          const [least, most] = [each.low - beyond, each.high + beyond];
          const taken = number.valueAsNumber >= least && number.valueAsNumber <= most;
          told.textContent = taken ? "" : `from ${words(least)} to ${words(most)}`;
          if (taken) set(number.valueAsNumber);
          else number.value = short(this.value[place], each);
        }, onfocus: focus });
      const told = element("span", { class: "told", role: "status" });
      const band = element("span", { class: "band", hidden: true });
      const middle = element("span", { class: "middle", hidden: true });
      this.sliders[place] = { range, number, band, middle, each };
      const variation = control.variation[place];
      const note = variation === undefined ? null : `q's means of it have a standard deviation of ${words(variation)} over rows`;
      const name = element("span", { class: `name${variation !== undefined && variation < 0.1 ? " quiet" : ""}`, title: note }, each.name);
      const zero = each.low < 0 && each.high > 0 ? element("span", { class: "zero", style: `left:${(-100 * each.low) / (each.high - each.low)}%` }) : null;
      return element("div", { class: "slider" }, name, element("span", { class: "rail" }, band, zero, middle, range), number,
        element("span", { class: "unit soft" }, each.unit, told));
    }

    // ---- what is known of it

    show(found, state, allowed) {
      this.how.textContent = found ? HOW[found.how] ?? "" : "";
      for (const each of this.radios) {
        each.radio.checked = each.state === state;
        each.label.hidden = !allowed.includes(each.state);
      }
      this.card.dataset.state = state;
      this.card.classList.toggle("absent", Boolean(found && found.how === "absent"));
      if (!found) return;
      this.value = found.value;
      if (!this.control.elements.length && found.picture) {
        this.body.replaceChildren(element("div", { class: "own-picture" }, draw.picture(found.picture, `${this.control.name} now`)));
      }
      for (const place of this.control.order) {
        const held = this.sliders[place];
        const value = found.value[place];
        if (!held) continue;
        if (held.buttons) held.buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === value)));
        else if (held.select) held.select.value = String(value);
        else {
          if (document.activeElement !== held.range || Math.abs(+held.range.value - value) > held.each.step) held.range.value = value;
          if (document.activeElement !== held.number) held.number.value = short(value, held.each);
          held.range.setAttribute("aria-valuetext", words(value) + held.each.unit);
        }
      }
    }

    posterior(answer) {
      for (const place of this.control.order) {
        const held = this.sliders[place];
        if (!held) continue;
        if (held.buttons) {
          const shares = answer?.shares?.[place];
          held.buttons.forEach((button, i) => {
            const share = shares ? shares[i] : 0;
            button.style.setProperty("--share", `${100 * share}%`);
            button.querySelector(".share").textContent = shares ? `${(100 * share).toFixed(share > 0.0995 ? 0 : 1)} %` : "";
          });
        } else if (held.select) {
          held.shares.replaceChildren(...(answer?.shares ? [draw.shareBars(this.control.categories, answer.shares[place], `Posterior of ${this.control.name}`, 4)] : []));
        } else {
          const known = Boolean(answer?.mean) && answer.mean[place] !== null;
          held.band.hidden = held.middle.hidden = !known;
          if (!known) continue;
          const { low, high } = held.each;
          const at = (value) => Math.min(100, Math.max(0, (100 * (value - low)) / (high - low)));
          const [mean, sd] = [answer.mean[place], answer.sd[place]];
          held.band.style.left = `${at(mean - sd)}%`;
          held.band.style.width = `${Math.max(at(mean + sd) - at(mean - sd), 0.5)}%`;
          held.middle.style.left = `${at(mean)}%`;
          held.band.parentElement.title = `posterior ${words(mean)} ± ${words(sd)}`;
        }
      }
    }
  }
  const HOW = { q: "inferred by q", posterior: "inferred", p: "from p", "q anew": "proposed anew", "p anew": "generated anew", row: "as in the row",
    held: "held", turned: "turned", evidence: "told to q", hidden: "hidden from q", absent: "does not exist in this row" };
  return { Control, HOW };
})(drawing);
