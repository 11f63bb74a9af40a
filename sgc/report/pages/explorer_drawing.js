// How the explorer draws values: pictures, changes of pictures, bars, lines, shares. It knows no model and asks nobody.
"use strict";
const drawing = (() => {
  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  };
  const svg = (tag, attributes, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  const words = (number) => {
    if (number === null || number === undefined) return "–";
    const size = Math.abs(number);
    const text = size && (size < 0.001 || size >= 1e6) ? number.toExponential(2) : String(+number.toPrecision(size >= 100 ? 5 : 3));
    return text.replace("-", "−");
  };
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  // ---- pictures

  const canvas = (high, wide, label, paint) => {
    const made = element("canvas", { width: wide, height: high, role: "img", "aria-label": label });
    const context = made.getContext("2d");
    const image = context.createImageData(wide, high);
    paint(image.data);
    context.putImageData(image, 0, 0);
    return made;
  };
  const picture = (value, label) => {
    const pixels = bytes(value.pixels);
    const colour = value.channels === 3;
    return canvas(value.high, value.wide, label, (data) => {
      for (let i = 0; i < value.high * value.wide; i++) {
        for (let c = 0; c < 3; c++) data[4 * i + c] = pixels[colour ? 3 * i + c : i];
        data[4 * i + 3] = 255;
      }
    });
  };
  const change = (before, now, label) => {
    const [old, fresh] = [bytes(before.pixels), bytes(now.pixels)];
    const size = before.high * before.wide;
    const difference = new Float32Array(size);
    for (let i = 0; i < old.length; i++) difference[before.channels === 3 ? Math.floor(i / 3) : i] += (fresh[i] - old[i]) / before.channels;
    let most = 32;
    for (const each of difference) most = Math.max(most, Math.abs(each));
    return canvas(before.high, before.wide, label, (data) => {
      for (let i = 0; i < size; i++) {
        const share = difference[i] / most;
        const faded = Math.round(255 * (1 - Math.abs(share)));
        data.set(share >= 0 ? [255, faded, faded, 255] : [faded, faded, 255, 255], 4 * i);
      }
    });
  };

  // ---- numbers and shares

  const shareBars = (names, shares, label, most = 8) => {
    const many = names.map((name, i) => [name, shares[i] ?? 0, i]);
    const kept = names.length > 12 ? [...many].sort((a, b) => b[1] - a[1]).slice(0, most) : many;
    const rows = kept.map(([name, share]) =>
      element("tr", {}, element("th", { scope: "row" }, name), element("td", { class: "number" }, (100 * share).toFixed(1) + " %"),
        element("td", { class: "track" }, element("span", { class: "fill", style: `width:${100 * share}%` }))));
    return element("table", { class: "bars", "aria-label": label }, element("tbody", {}, ...rows));
  };
  const shareSteps = (names, rows, label) => {
    const made = canvas(names.length, rows.length, label, (data) => {
      rows.forEach((shares, x) => shares.forEach((share, y) => {
        const light = Math.round(255 * (1 - (share ?? 0)));
        data.set([light, light, light, 255], 4 * (y * rows.length + x));
      }));
    });
    made.style.height = `${names.length}rem`;
    return made;
  };
  const numberTable = (names, columns, label) => {
    const all = columns.flatMap(([, values]) => values).filter((value) => value !== null);
    const [low, high] = [Math.min(0, ...all), Math.max(0, ...all)];
    const place = (value) => (100 * (value - low)) / (high - low || 1);
    const now = columns[columns.length - 1][1];
    const head = element("tr", {}, element("th", { scope: "col" }, ""), ...columns.map(([word], i) => element("th", { scope: "col", class: `number key-${i === columns.length - 1 ? "now" : i}` }, word)),
      element("th", { scope: "col", class: "track" }, ""));
    const rows = names.map((name, i) => {
      const [start, end] = [place(0), place(now[i] ?? 0)].sort((a, b) => a - b);
      const marks = columns.slice(0, -1).map(([, values], j) => (values[i] === null ? null
        : element("span", { class: `mark mark-${j}`, style: `left:${place(values[i])}%` })));
      return element("tr", {}, element("th", { scope: "row" }, name), ...columns.map(([, values]) => element("td", { class: "number" }, words(values[i]))),
        element("td", { class: "track" }, element("span", { class: "fill", style: `left:${start}%;width:${end - start}%` }), ...marks));
    });
    return element("table", { class: "bars", "aria-label": label }, element("thead", {}, head), element("tbody", {}, ...rows));
  };
  // series: [{class, values: [number|null], label}], of one length
  const lines = (series, label, ends = ["", ""]) => {
    const [wide, high, pad] = [360, 110, 8];
    const all = series.flatMap((each) => each.values).filter((value) => value !== null);
    const [low, high_] = all.length ? [Math.min(...all), Math.max(...all)] : [0, 1];
    const y = (value) => high - pad - ((value - low) / (high_ - low || 1)) * (high - 2 * pad);
    const drawn = series.map((each) => {
      const x = (i) => pad + (i / Math.max(each.values.length - 1, 1)) * (wide - 2 * pad);
      let pen = "M";
      const path = each.values.map((value, i) => {
        if (value === null) { pen = "M"; return ""; }
        const piece = `${pen}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
        pen = "L";
        return piece;
      }).join("");
      return svg("path", { class: `line ${each.class}`, d: path || "M0 0" });
    });
    const figure = svg("svg", { viewBox: `0 0 ${wide} ${high}`, class: "lines", preserveAspectRatio: "none", role: "img", "aria-label": label }, ...drawn);
    return element("div", { class: "plot" }, element("span", { class: "ends soft" }, words(high_)), figure,
      element("span", { class: "ends soft" }, words(low)), element("span", { class: "ends along soft" }, ends[0], element("span", {}, ends[1])));
  };
  return { element, words, picture, change, shareBars, shareSteps, numberTable, lines };
})();
