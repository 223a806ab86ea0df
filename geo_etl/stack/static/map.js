"use strict";
// A map in Web Mercator to pan and zoom, without a library and without a background from elsewhere.
// Positions are in units of the world: x from 0 to 1 from 180° west to 180° east, y from north to
// south. x goes on beyond both: the world repeats, so a layer across the antimeridian is whole.

const TILE = 256, MAX_ZOOM = 24, MERCATOR_LATITUDE = 85.0511287798066;

const worldX = longitude => (longitude + 180) / 360;
const worldY = latitude => {
  const north = Math.min(Math.max(latitude, -MERCATOR_LATITUDE), MERCATOR_LATITUDE);
  return 0.5 - Math.asinh(Math.tan(north * Math.PI / 180)) / (2 * Math.PI);
};
const longitudeAt = x => (((x * 360) % 360) + 360) % 360 - 180;
const latitudeAt = y => Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180 / Math.PI;
const limited = (value, low, high) => Math.min(Math.max(value, low), high);
const wrapped = (x, count) => ((x % count) + count) % count;

class WorldMap {
  // element: gets a canvas with a graticule, and what its layers add.
  constructor(element) {
    this.element = element;
    this.layers = [];
    this.home = [-180, -MERCATOR_LATITUDE, 180, MERCATOR_LATITUDE];
    this.center = { x: 0.5, y: 0.5 };
    this.zoom = 0;
    this.onclick = () => {};
    this.onhover = () => {};
    this.canvas = document.createElement("canvas");
    element.append(this.canvas);
    this._listen();
    new ResizeObserver(() => this.redraw()).observe(element);
  }

  get width() { return this.element.clientWidth; }
  get height() { return this.element.clientHeight; }
  get worldSize() { return TILE * 2 ** this.zoom; }

  add(layer) {
    this.layers.push(layer);
    layer.added(this);
    this.redraw();
  }

  // west > east: across the antimeridian.
  fit([west, south, east, north]) {
    if (west > east) east += 360;
    const wide = worldX(east) - worldX(west), high = worldY(south) - worldY(north);
    this.home = [west, south, east, north];
    this.center = { x: worldX((west + east) / 2), y: (worldY(south) + worldY(north)) / 2 };
    const scale = Math.min(this.width * 0.9 / Math.max(wide, 1e-6),
                           this.height * 0.9 / Math.max(high, 1e-6)) / TILE;
    this.zoom = limited(Math.log2(scale), 0, 18);
    this.redraw();
  }

  // The place under a pixel of the element, and the pixel of a place.
  at(pixel) {
    return { x: this.center.x + (pixel.x - this.width / 2) / this.worldSize,
             y: this.center.y + (pixel.y - this.height / 2) / this.worldSize };
  }
  pixel(place) {
    return { x: (place.x - this.center.x) * this.worldSize + this.width / 2,
             y: (place.y - this.center.y) * this.worldSize + this.height / 2 };
  }

  // What is under `pixel` stays there.
  zoomTo(zoom, pixel = { x: this.width / 2, y: this.height / 2 }) {
    const before = this.at(pixel);
    this.zoom = limited(zoom, 0, MAX_ZOOM);
    const after = this.at(pixel);
    this.moveTo({ x: this.center.x + before.x - after.x, y: this.center.y + before.y - after.y });
  }

  moveTo(center) {
    this.center = { x: center.x, y: limited(center.y, 0, 1) };
    this.redraw();
  }

  moveBy(right, down) {
    const whole = this.worldSize;
    this.moveTo({ x: this.center.x + right / whole, y: this.center.y + down / whole });
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = null;
      const pen = cleared(this.canvas, this.width, this.height);
      drawGraticule(this, pen);
      for (const layer of this.layers) layer.draw(this);
    });
  }

  // The tiles of a zoom level that are in view: {key, x, y, z, left, top, size}; x may be beyond
  // the world, the key's is within.
  tiles(level) {
    const count = 2 ** level, size = this.worldSize / count, found = [];
    const from = this.at({ x: 0, y: 0 }), to = this.at({ x: this.width, y: this.height });
    const last = Math.min(Math.floor(to.y * count), count - 1);
    for (let y = Math.max(Math.floor(from.y * count), 0); y <= last; y++) {
      for (let x = Math.floor(from.x * count); x <= to.x * count; x++) {
        const { x: left, y: top } = this.pixel({ x: x / count, y: y / count });
        found.push({ key: `${level}/${wrapped(x, count)}/${y}`, x, y, z: level, left, top, size });
      }
    }
    return found;
  }

  _listen() {
    const element = this.element, grips = new Map();
    const here = event => {
      const box = element.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    const spread = () => {
      const [one, two] = [...grips.values()];
      return Math.hypot(one.x - two.x, one.y - two.y);
    };
    let start = null;
    element.addEventListener("pointerdown", event => {
      if (event.target.closest("button, a, aside")) return;
      grips.set(event.pointerId, here(event));
      start = grips.size === 1 ? here(event) : null;
      element.setPointerCapture(event.pointerId);
    });
    element.addEventListener("pointermove", event => {
      const pixel = here(event), before = grips.get(event.pointerId);
      if (!before) return this.onhover(this.at(pixel));
      if (start && Math.hypot(pixel.x - start.x, pixel.y - start.y) > 4) start = null;
      const apart = grips.size === 2 ? spread() : 0;
      grips.set(event.pointerId, pixel);
      if (apart) this.zoomTo(this.zoom + Math.log2(spread() / apart), pixel);
      else if (!start) this.moveBy(before.x - pixel.x, before.y - pixel.y);
    });
    const release = event => {
      if (!grips.delete(event.pointerId)) return;
      if (start && event.type === "pointerup") this.onclick(this.at(here(event)), here(event));
      start = null;
    };
    element.addEventListener("pointerup", release);
    element.addEventListener("pointercancel", release);
    element.addEventListener("wheel", event => {
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1;
      this.zoomTo(this.zoom - limited(event.deltaY * lines / 300, -1, 1), here(event));
    }, { passive: false });
    element.addEventListener("dblclick", event => this.zoomTo(this.zoom + 1, here(event)));
    element.tabIndex = 0;
    const steps = { ArrowLeft: [-80, 0], ArrowRight: [80, 0], ArrowUp: [0, -80], ArrowDown: [0, 80] };
    element.addEventListener("keydown", event => {
      if (event.target !== element || event.ctrlKey || event.metaKey || event.altKey) return;
      if (steps[event.key]) this.moveBy(...steps[event.key]);
      else if (event.key === "+" || event.key === "=") this.zoomTo(this.zoom + 1);
      else if (event.key === "-") this.zoomTo(this.zoom - 1);
      else if (event.key === "0") this.fit(this.home);
      else return;
      event.preventDefault();
    });
  }

  // Buttons #in, #out and #whole of the page.
  useButtons() {
    document.getElementById("in").onclick = () => this.zoomTo(Math.floor(this.zoom + 1));
    document.getElementById("out").onclick = () => this.zoomTo(Math.ceil(this.zoom - 1));
    document.getElementById("whole").onclick = () => this.fit(this.home);
  }
}

// An empty canvas of a size in CSS pixels, sharp on any screen; its pen.
function cleared(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1, pen = canvas.getContext("2d");
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  return pen;
}

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const STEPS = [60, 30, 15, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];

function drawGraticule(map, pen) {
  const from = map.at({ x: 0, y: 0 }), to = map.at({ x: map.width, y: map.height });
  const step = [...STEPS].reverse().find(one => one / 360 * map.worldSize >= 90) || STEPS[0];
  const digits = Math.max(0, Math.ceil(-Math.log10(step)));
  const named = (value, signs) =>
    `${Math.abs(value).toFixed(digits)}°${value === 0 || Math.abs(value) === 180 ? "" : signs[+(value > 0)]}`;
  const top = Math.max(map.pixel({ x: 0, y: 0 }).y, 0);
  const bottom = Math.min(map.pixel({ x: 0, y: 1 }).y, map.height);
  pen.fillStyle = colour("--sea");
  pen.fillRect(0, top, map.width, bottom - top);
  pen.strokeStyle = colour("--grid");
  pen.fillStyle = colour("--faint");
  pen.font = "11px system-ui, sans-serif";
  pen.lineWidth = 1;
  pen.beginPath();
  const first = Math.ceil((from.x * 360 - 180) / step), last = Math.floor((to.x * 360 - 180) / step);
  for (let number = first; number <= last; number++) {
    const x = Math.round(map.pixel({ x: worldX(number * step), y: 0 }).x) + 0.5;
    pen.moveTo(x, top);
    pen.lineTo(x, bottom);
    const shown = wrapped(number * step + 180, 360) - 180;
    pen.fillText(named(Math.abs(shown) < step / 2 ? 0 : shown, "WE"), x + 3, bottom - 4);
  }
  const north = latitudeAt(Math.max(from.y, 0)), south = latitudeAt(Math.min(to.y, 1));
  for (let number = Math.ceil(south / step); number * step <= north; number++) {
    const y = Math.round(map.pixel({ x: 0, y: worldY(number * step) }).y) + 0.5;
    pen.moveTo(0, y);
    pen.lineTo(map.width, y);
    const label = named(number * step, "SN");
    pen.fillText(label, map.width - pen.measureText(label).width - 4, y - 3);
  }
  pen.stroke();
}

// Pictures of a tile server, as images in the map's element.
class RasterLayer {
  constructor(template, [west, south, east, north]) {
    Object.assign(this, { template, images: new Map() });
    const wide = west > east ? east + 360 - west : east - west;
    this.box = { x: worldX(west), wide: wide / 360, top: worldY(north), bottom: worldY(south) };
  }

  added(map) { this.map = map; }

  draw(map) {
    const level = limited(Math.round(map.zoom), 0, MAX_ZOOM), wanted = new Set();
    for (const tile of map.tiles(level).filter(one => this._isInside(one))) {
      const id = `${tile.z}/${tile.x}/${tile.y}`;
      wanted.add(id);
      if (!this.images.has(id)) this.images.set(id, this._image(tile));
    }
    const settled = [...wanted].every(id => this.images.get(id).settled);
    for (const [id, { image, tile }] of this.images) {
      // What was there before is left until all that is new has come.
      if (!wanted.has(id) && (settled || tile.z === level)) {
        image.remove();
        this.images.delete(id);
        continue;
      }
      const count = 2 ** tile.z, from = map.pixel({ x: tile.x / count, y: tile.y / count });
      const to = map.pixel({ x: (tile.x + 1) / count, y: (tile.y + 1) / count });
      const left = Math.round(from.x), top = Math.round(from.y);
      Object.assign(image.style, {
        left: `${left}px`, top: `${top}px`, zIndex: tile.z === level ? 1 : 0,
        width: `${Math.round(to.x) - left}px`, height: `${Math.round(to.y) - top}px`,
      });
    }
  }

  // Whether a tile meets the bounds, on whichever copy of the world.
  _isInside({ x, y, z }) {
    const count = 2 ** z, { box } = this, edge = 1e-9;
    const right = wrapped(x / count - box.x, 1);  // of the bounds' western end
    return (right <= box.wide + edge || right + 1 / count >= 1 - edge)
      && y / count <= box.bottom + edge && (y + 1) / count >= box.top - edge;
  }

  _image(tile) {
    const image = new Image(), entry = { image, tile, settled: false };
    const settle = () => { entry.settled = true; this.map.redraw(); };
    image.alt = "";
    image.draggable = false;
    image.onload = settle;
    image.onerror = () => { image.hidden = true; settle(); };  // no data there
    const [z, x, y] = tile.key.split("/");
    image.src = this.template.replace("{z}", z).replace("{x}", x).replace("{y}", y);
    this.map.element.append(image);
    return entry;
  }
}
