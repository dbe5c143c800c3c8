// Adds sorting, filtering, highlighting, pinning, and the details of each trial. Findings, figures and table need no script.
'use strict';
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const $ = id => document.getElementById(id);
  const svg = (tag, attributes, text) => {
    const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const html = (tag, text, parent, cls) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (cls) node.className = cls;
    if (parent) parent.append(node);
    return node;
  };
  const PINS = ['#D55E00', '#0072B2', '#009E73', '#CC79A7', '#E69F00', '#56B4E9'];
  const short = value => value === null || value === undefined ? '–' : Math.abs(value) >= 100 || value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(2) : String(+value.toPrecision(4));
  const rows = [...$('configs').tBodies[0].rows];
  const state = { pins: [], at: null, sort: null, up: true };

  // Scales and axes of a chart.
  const ticks = (low, high, count) => {
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(m => m * power).find(step => step >= rough * .999) || 10 * power;
    const found = [];
    // Above 2^53, adding 1 to a number does not change it, so the count is bounded.
    for (let i = Math.ceil(low / step - 1e-6); i <= high / step + 1e-6 && found.length < 50; i++) found.push(i * step);
    return found.filter(isFinite);
  };
  const scales = (box, xs, low, high, log) => {
    const f = log ? Math.log10 : v => v;
    const [a, b] = [f(low), f(high)], span = b - a || 1;
    return { x: v => box[0] + v / (xs || 1) * (box[2] - box[0]), y: v => box[3] - (f(v) - a) / span * (box[3] - box[1]), low, high, log };
  };
  // The path of a curve: clipped at the exact crossing of the upper edge, and broken at missing values.
  const path = (curve, scale, box) => {
    let d = '', pen = false, before = null;
    const to = (x, y) => { d += (pen ? 'L' : 'M') + x.toFixed(1) + ' ' + y.toFixed(1); pen = true; };
    for (let i = 0; i < curve[0].length; i++) {
      const v = curve[1][i];
      if (v === null || scale.log && v <= 0) { pen = false; before = null; continue; }
      const x = scale.x(curve[0][i]), y = scale.y(v), out = y < box[1];
      if (before && out !== before[1] < box[1]) to(before[0] + (x - before[0]) * (box[1] - before[1]) / (y - before[1]), box[1]);
      if (out) pen = false; else to(x, Math.min(y, box[3]));
      before = [x, y];
    }
    return d;
  };
  const axes = (node, scale, box, end, count) => {
    const values = scale.log ? ticks(Math.log10(scale.low), Math.log10(scale.high), count).map(v => 10 ** v) : ticks(scale.low, scale.high, count);
    for (const value of values) {
      const y = scale.y(value);
      node.append(svg('line', { class: 'grid', x1: box[0], x2: box[2], y1: y, y2: y }), svg('text', { x: box[0] - 6, y: y + 4, 'text-anchor': 'end' }, String(+value.toPrecision(2))));
    }
    node.append(svg('line', { class: 'axis', x1: box[0], x2: box[2], y1: box[3], y2: box[3] }));
    for (const step of ticks(0, end, count)) node.append(svg('text', { x: scale.x(step), y: box[3] + 16, 'text-anchor': 'middle' }, String(step)));
  };
  const finite = values => values.filter(value => value !== null && isFinite(value)).sort((a, b) => a - b);
  // The range of most values, so that one diverged trial does not flatten the other curves.
  const range = (curves, log) => {
    let all = finite(curves.flatMap(curve => curve[1]));
    if (log) all = all.filter(v => v > 0);
    if (!all.length) return log ? [.1, 1] : [0, 1];
    const low = all[0], high = all[Math.floor((all.length - 1) * .985)];
    return high > low ? [low, high] : log ? [low / 2, low * 2] : [low - .5, low + .5];
  };

  // The chart of all trials.
  const box = [58, 12, 976, 288];
  let scale, curves = [], layer, front;
  const drawChart = () => {
    const chart = $('chart'), what = $('what').value, log = $('log').checked;
    chart.replaceChildren();
    curves = data.trials.map(trial => trial[what]);
    const [low, high] = range(curves, log);
    scale = scales(box, data.steps, low, high, log);
    axes(chart, scale, box, data.steps, 6);
    if (what !== 'g' && data.chance && data.chance < high) chart.append(svg('line', { class: 'axis', 'stroke-dasharray': '6 4', x1: box[0], x2: box[2], y1: scale.y(data.chance), y2: scale.y(data.chance) }));
    layer = svg('g', { class: 'all' });
    layer.style.setProperty('--faint', Math.min(.6, Math.max(.1, 20 / data.trials.length)));
    data.trials.forEach((trial, i) => layer.append(svg('path', { d: path(curves[i], scale, box), class: trial.failed ? 'failed' : '' })));
    front = svg('g', { class: 'front' });
    chart.append(layer, front);
    refresh();
  };
  const nearest = (px, py) => {
    let best = null, least = 24;
    curves.forEach((curve, i) => {
      if (layer.children[i].classList.contains('off')) return;
      for (let k = 0; k < curve[0].length; k++) {
        if (curve[1][k] === null) continue;
        const dx = scale.x(curve[0][k]) - px, dy = Math.max(box[1], Math.min(box[3], scale.y(curve[1][k]))) - py;
        const far = Math.hypot(dx * .6, dy);
        if (far < least) { least = far; best = data.trials[i].config; }
      }
    });
    return best;
  };
  const inChart = event => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform($('chart').getScreenCTM().inverse());
    return nearest(point.x, point.y);
  };
  const colour = config => PINS[Math.max(0, state.pins.indexOf(config)) % PINS.length];
  const refresh = () => {
    const lifted = [...state.pins, ...(state.at !== null && !state.pins.includes(state.at) ? [state.at] : [])];
    front.replaceChildren();
    lifted.forEach((config, k) => {
      const ink = state.pins.includes(config) ? colour(config) : 'var(--text)';
      let last = null;
      data.trials.forEach((trial, i) => {
        if (trial.config !== config) return;
        front.append(svg('path', { d: path(curves[i], scale, box), stroke: ink, 'stroke-width': 2.2 }));
        const k = curves[i][1].findLastIndex(v => v !== null && (!scale.log || v > 0));
        if (k >= 0) last = curves[i][1][k];
      });
      const name = data.configs[config].name + (last === null ? '' : '  ' + short(last));
      front.append(svg('text', { class: 'name', x: box[2] - 4, y: box[1] + 14 + 16 * k, 'text-anchor': 'end' }, name), svg('line', { x1: box[2] - 2, x2: box[2] + 8, y1: box[1] + 10 + 16 * k, y2: box[1] + 10 + 16 * k, stroke: ink, 'stroke-width': 3 }));
    });
    rows.forEach((row, config) => {
      const pinned = state.pins.includes(config);
      row.setAttribute('aria-selected', pinned);
      row.classList.toggle('at', config === state.at);
      if (pinned) row.style.setProperty('--pin', colour(config));
    });
    drawLifted(lifted);
  };
  const point = config => { if (config !== state.at) { state.at = config; refresh(); } };
  const pin = config => {
    if (config === null) return;
    state.pins = state.pins.includes(config) ? state.pins.filter(other => other !== config) : [...state.pins, config].slice(-PINS.length);
    refresh(); saveState();
  };

  // Parallel coordinates: the first 15 configurations in colour, the best one darkest.
  const VIRIDIS = ['#440154', '#472D7B', '#3B528B', '#2C728E', '#21918C', '#28AE80', '#5EC962'];
  let lines = [], over;
  const drawParallel = () => {
    const node = $('parallel'), columns = data.columns, [left, right, top, bottom] = [70, 930, 34, 270];
    node.replaceChildren();
    if (columns.length < 2 || data.configs.length < 2) { node.remove(); return; }
    const x = k => left + k / (columns.length - 1) * (right - left);
    const y = (k, share) => share === null ? bottom + 18 : bottom - share * (bottom - top);
    const all = svg('g', { class: 'all' });
    all.style.setProperty('--faint', Math.min(.5, Math.max(.08, 20 / data.configs.length)));
    lines = data.configs.map(config => columns.map((column, k) => (k ? 'L' : 'M') + x(k).toFixed(1) + ' ' + y(k, config.at[k]).toFixed(1)).join(''));
    data.configs.forEach((config, i) => {
      const ink = i < 15 && !config.failed ? VIRIDIS[Math.floor(i / 15 * VIRIDIS.length)] : null;
      const line = svg('path', { d: lines[i], class: config.failed ? 'failed' : '' });
      if (ink) { line.style.stroke = `color-mix(in oklab, ${ink} 72%, var(--text))`; line.style.opacity = .9; line.style.strokeWidth = 1.6; }
      all.prepend(line);
    });
    over = svg('g', { class: 'front' });
    node.append(all, over);
    columns.forEach((column, k) => {
      node.append(svg('line', { class: 'axis', x1: x(k), x2: x(k), y1: top, y2: bottom }), svg('text', { x: x(k), y: 16, 'text-anchor': 'middle' }, column.name));
      let taken = -99;
      column.ticks.slice().sort((a, b) => b[0] - a[0]).forEach(([share, text]) => {
        if (y(k, share) - taken < 13) return;
        taken = y(k, share);
        node.append(svg('text', { class: 'tick', x: x(k) + (k + 1 === columns.length ? -7 : 7), y: taken + 4, 'text-anchor': k + 1 === columns.length ? 'end' : 'start' }, text));
      });
    });
    node.append(svg('text', { x: left - 10, y: bottom + 22, 'text-anchor': 'end' }, 'none'), svg('text', { x: left, y: 296 }, 'in colour: the 15 best configurations, the best one violet. Bottom line (none): no plateau, or failed'));
  };
  const drawLifted = lifted => {
    if (!over) return;
    over.replaceChildren(...lifted.map(config => svg('path', { d: lines[config], stroke: state.pins.includes(config) ? colour(config) : 'var(--text)', 'stroke-width': 2.6 })));
  };

  // The table.
  const body = $('configs').tBodies[0], heads = [...$('configs').tHead.rows[0].cells];
  const key = (row, column) => {
    const text = row.cells[column].textContent.trim().replace(/^\(/, '');
    const number = parseFloat(text);
    return text === '–' ? null : /^-?[\d.]/.test(text) && !isNaN(number) ? number : text;
  };
  const sort = (column, up) => {
    [state.sort, state.up] = [column, up];
    heads.forEach((head, i) => i === column ? head.setAttribute('aria-sort', up ? 'ascending' : 'descending') : head.removeAttribute('aria-sort'));
    const keyed = rows.map(row => [key(row, column), row]);
    keyed.sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null) : (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === 'number' ? -1 : 1) * (up ? 1 : -1));
    // One call for all rows: with a call for each row, the browser would compute the styles of all rows each time.
    body.replaceChildren(...keyed.map(([, row]) => row));
    saveState();
  };
  heads.forEach((head, column) => {
    const button = html('button', head.textContent);
    head.replaceChildren(button);
    button.type = 'button';
    button.addEventListener('click', () => sort(column, state.sort === column ? !state.up : true));
  });
  const filter = () => {
    const words = $('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    const off = rows.map(row => {
      const text = row.textContent && [...row.cells].map(cell => cell.textContent).join(' ').toLowerCase();
      const hidden = !words.every(word => text.includes(word));
      row.hidden = hidden;
      shown += !hidden;
      return hidden;
    });
    data.trials.forEach((trial, i) => {
      layer.children[i].classList.toggle('off', off[trial.config]);
      const details = document.getElementById('trial-' + trial.id);
      if (details) details.hidden = off[trial.config];
    });
    $('count').textContent = shown + ' of ' + rows.length;
    saveState();
  };
  rows.forEach((row, config) => {
    row.tabIndex = 0;
    row.addEventListener('mouseenter', () => point(config));
    row.addEventListener('mouseleave', () => point(null));
    row.addEventListener('focus', () => point(config));
    row.addEventListener('blur', () => point(null));
    row.addEventListener('click', () => pin(config));
    row.addEventListener('keydown', event => {
      if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); pin(config); }
      const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key];
      if (!step) return;
      let next = row[step];
      while (next && next.hidden) next = next[step];
      if (next) { event.preventDefault(); next.focus(); }
    });
  });

  // The details of a trial, created when its section is opened.
  const small = (parent, title, list, options = {}) => {
    const drawn = list.filter(([curve]) => curve[0].length);
    if (!drawn.length) return;
    const cell = html('div', undefined, parent), inner = [44, 8, 316, 130];
    html('div', title, cell, 'muted');
    const chart = svg('svg', { class: 'chart', viewBox: '0 0 324 152', role: 'img', 'aria-label': title });
    const [low, high] = range(drawn.map(([curve]) => curve), options.log);
    const clip = options.line > 0 ? options.line : null;
    const scale = scales(inner, data.steps, options.zero ? 0 : clip ? Math.min(low, clip) : low, clip ? Math.max(high, clip) : high, options.log);
    axes(chart, scale, inner, data.steps, 4);
    if (clip) chart.append(svg('line', { class: 'axis', 'stroke-dasharray': '6 4', x1: inner[0], x2: inner[2], y1: scale.y(clip), y2: scale.y(clip) }));
    for (const [curve, ink, width] of drawn) chart.append(svg('path', { d: path(curve, scale, inner), stroke: ink, 'stroke-width': width }));
    cell.append(chart);
  };
  const unfold = (details, trial) => {
    if (details.children.length > 1) return;
    const panels = html('div', undefined, details, 'panels');
    small(panels, `loss (${data.unit}): train blue, eval orange`, [[trial.t, 'var(--accent)', .9], [trial.e, 'var(--eval)', 2]]);
    small(panels, 'gradient norm (log scale), clipping limit dashed', [[trial.g, 'var(--accent)', .9]], { log: true, line: trial.clip });
    small(panels, 'learning rate', [[data.rates[trial.l], 'var(--muted)', 1.6]], { zero: true });
    for (const verdict of trial.verdicts) html('p', verdict, details);
    if (trial.error) html('p', trial.error, details);
    html('h3', 'Configuration', details);
    const list = html('dl', undefined, details);
    const merged = { ...data.base, ...trial.own };
    for (const name of Object.keys(merged).sort()) {
      html('dt', name, list);
      html('dd', merged[name], list, name in trial.own ? 'own' : '');
    }
    if (trial.log.length) { html('h3', 'Last lines of its log', details); html('pre', trial.log.join('\n'), details); }
  };
  data.trials.forEach(trial => {
    const details = document.getElementById('trial-' + trial.id);
    if (details) details.addEventListener('toggle', () => { if (details.open) unfold(details, trial); saveState(); });
  });
  addEventListener('hashchange', () => { const details = document.getElementById(location.hash.slice(1)); if (details && details.tagName === 'DETAILS') details.open = true; });

  // The page restores its state after it reloads itself.
  const storageKey = 'plateau ' + document.title;
  let ready = false;
  const saveState = () => {
    if (!ready) return;
    const open = [...document.querySelectorAll('details[open]')].map(details => details.id);
    try { sessionStorage.setItem(storageKey, JSON.stringify({ pins: state.pins.map(config => data.configs[config].name), sort: state.sort, up: state.up, filter: $('filter').value, what: $('what').value, log: $('log').checked, open })); } catch { /* storage may be disabled */ }
  };
  const restoreState = () => {
    let known = null;
    try { known = JSON.parse(sessionStorage.getItem(storageKey)); } catch { /* storage may be disabled */ }
    if (!known) return;
    $('filter').value = known.filter; $('what').value = known.what; $('log').checked = known.log;
    state.pins = known.pins.map(name => data.configs.findIndex(config => config.name === name)).filter(config => config >= 0);
    if (known.sort !== null) sort(known.sort, known.up);
    known.open.forEach(id => { const details = document.getElementById(id); if (details) details.open = true; });
  };
  $('filter').addEventListener('input', filter);
  $('what').addEventListener('change', () => { drawChart(); filter(); });
  $('log').addEventListener('change', () => { drawChart(); filter(); });
  $('clear').addEventListener('click', () => { state.pins = []; refresh(); saveState(); });
  addEventListener('keydown', event => { if (event.key === 'Escape') { state.pins = []; state.at = null; refresh(); saveState(); } });
  $('chart').addEventListener('mousemove', event => point(inChart(event)));
  $('chart').addEventListener('mouseleave', () => point(null));
  $('chart').addEventListener('click', event => pin(inChart(event)));
  restoreState();
  drawParallel();
  drawChart();
  filter();
  ready = true;
})();
