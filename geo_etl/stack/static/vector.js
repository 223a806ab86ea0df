"use strict";
// Vector tiles on a canvas: Mapbox Vector Tile 2.1 (github.com/mapbox/vector-tile-spec, 2.1),
// which is Protocol Buffers (protobuf.dev/programming-guides/encoding), decoded and drawn.

const POINT = 1, LINE = 2, POLYGON = 3;  // GeomType, section 4.3.4
const MOVE_TO = 1, LINE_TO = 2;          // CommandInteger ids, section 4.3.1; 7 is ClosePath

// Reads the fields of a Protocol Buffers message.
class Message {
  constructor(bytes, position = 0, end = bytes.length) {
    Object.assign(this, { bytes, position, end });
    this.view = new DataView(bytes.buffer, bytes.byteOffset);
  }

  // Calls read(field, wire) for each field; what it does not read is skipped.
  fields(read) {
    while (this.position < this.end) {
      const key = this.varint(), wire = key & 7, before = this.position;
      read(Math.floor(key / 8), this);
      if (this.position === before) this._skip(wire);
    }
  }

  // Exact up to 2⁵³.
  varint() {
    let value = 0, factor = 1, byte;
    do {
      byte = this.bytes[this.position++];
      value += (byte & 127) * factor;
      factor *= 128;
    } while (byte > 127);
    return value;
  }

  // 64 bits; a number where that is exact, else a BigInt.
  long(isSigned, isZigzag = false) {
    let value = 0n, shift = 0n, byte;
    do {
      byte = this.bytes[this.position++];
      value |= BigInt(byte & 127) << shift;
      shift += 7n;
    } while (byte > 127);
    if (isZigzag) value = (value >> 1n) ^ -(value & 1n);
    else value = isSigned ? BigInt.asIntN(64, value) : BigInt.asUintN(64, value);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }

  float() { return this.view.getFloat32((this.position += 4) - 4, true); }
  double() { return this.view.getFloat64((this.position += 8) - 8, true); }

  message() {
    const length = this.varint(), start = this.position;
    this.position += length;
    return new Message(this.bytes, start, start + length);
  }

  text() {
    const { bytes, position, end } = this.message();
    return new TextDecoder().decode(bytes.subarray(position, end));
  }

  packed() {
    const inner = this.message(), found = [];
    while (inner.position < inner.end) found.push(inner.varint());
    return found;
  }

  _skip(wire) {
    if (wire === 0) this.varint();
    else if (wire === 1) this.position += 8;
    else if (wire === 2) this.message();
    else if (wire === 5) this.position += 4;
    else throw new Error(`wire type ${wire} is no part of a vector tile`);
  }
}

// The layers of a tile: {name, extent, features: [{id, type, parts, properties()}]}, where parts
// are flat lists of coordinates x, y in units of the tile.
function decodeTile(bytes) {
  const layers = [];
  new Message(bytes).fields((field, tile) => {
    if (field === 3) layers.push(decodeLayer(tile.message()));
  });
  return layers;
}

function decodeLayer(message) {
  const layer = { name: "", extent: 4096, features: [] }, keys = [], values = [];
  message.fields((field, inner) => {
    if (field === 1) layer.name = inner.text();
    else if (field === 2) layer.features.push(decodeFeature(inner.message(), keys, values));
    else if (field === 3) keys.push(inner.text());
    else if (field === 4) values.push(decodeValue(inner.message()));
    else if (field === 5) layer.extent = inner.varint();
  });
  return layer;
}

function decodeFeature(message, keys, values) {
  const feature = { id: null, type: 0, parts: [] };
  let tags = [];
  message.fields((field, inner) => {
    if (field === 1) feature.id = inner.long(false);
    else if (field === 2) tags = inner.packed();
    else if (field === 3) feature.type = inner.varint();
    else if (field === 4) feature.parts = decodeGeometry(inner.packed());
  });
  feature.properties = () => {
    const found = {};
    for (let i = 0; i < tags.length; i += 2) found[keys[tags[i]]] = values[tags[i + 1]];
    return found;
  };
  return feature;
}

function decodeValue(message) {
  let value = null;
  message.fields((field, inner) => {
    if (field === 1) value = inner.text();
    else if (field === 2) value = inner.float();
    else if (field === 3) value = inner.double();
    else if (field === 4) value = inner.long(true);
    else if (field === 5) value = inner.long(false);
    else if (field === 6) value = inner.long(true, true);
    else if (field === 7) value = inner.varint() !== 0;
  });
  return value;
}

// Section 4.3: commands with a count, and steps from the point before in zigzag encoding.
function decodeGeometry(integers) {
  const parts = [], step = n => (n % 2 ? -(n + 1) / 2 : n / 2);
  let x = 0, y = 0, i = 0;
  while (i < integers.length) {
    const command = integers[i] & 7, count = command <= LINE_TO ? integers[i] >> 3 : 0;
    i++;
    for (let n = 0; n < count; n++, i += 2) {
      x += step(integers[i]);
      y += step(integers[i + 1]);
      if (command === MOVE_TO) parts.push([x, y]);
      else parts[parts.length - 1].push(x, y);
    }
  }
  return parts;
}

// A feature's outline as a path, in units of its tile.
function pathOf(features) {
  const path = new Path2D();
  for (const { type, parts } of features) {
    for (const part of type === POINT ? [] : parts) {
      path.moveTo(part[0], part[1]);
      for (let i = 2; i < part.length; i += 2) path.lineTo(part[i], part[i + 1]);
      if (type === POLYGON) path.closePath();
    }
  }
  return path;
}

// A table as vector tiles, drawn on a canvas of the map's element.
class VectorLayer {
  // most: features that a tile may have; one with so many is cut.
  constructor(template, minzoom, maxzoom, most) {
    Object.assign(this, { template, minzoom, maxzoom, most, tiles: new Map(), chosen: null });
    this.onchange = () => {};
  }

  added(map) {
    this.map = map;
    this.canvas = document.createElement("canvas");
    map.element.append(this.canvas);
  }

  draw(map) {
    const pen = cleared(this.canvas, map.width, map.height);
    const level = limited(Math.round(map.zoom), this.minzoom, this.maxzoom);
    this.inView = map.tiles(level);
    const keys = new Set(this.inView.map(tile => tile.key));
    for (const [key, tile] of this.tiles) {
      if (!tile.layers && !keys.has(key)) { tile.control.abort(); this.tiles.delete(key); }
    }
    for (const tile of this.inView) {
      if (!this.tiles.has(tile.key)) this._fetch(tile.key);
      this._drawTile(pen, tile);
    }
    this._forget(keys);
    this.onchange();
  }

  // Numbers of tiles in view: {waiting, cut, failed, features}, the failure in words.
  state() {
    const state = { waiting: 0, cut: 0, failed: null, features: 0 };
    for (const key of new Set((this.inView || []).map(tile => tile.key))) {
      const tile = this.tiles.get(key);
      if (tile.failed) state.failed = tile.failed;
      else if (!tile.layers) state.waiting++;
      else {
        const count = tile.layers.reduce((sum, layer) => sum + layer.features.length, 0);
        state.features += count;
        if (count >= this.most) state.cut++;
      }
    }
    return state;
  }

  async _fetch(key) {
    const tile = { control: new AbortController(), layers: null, failed: null };
    this.tiles.set(key, tile);
    const [z, x, y] = key.split("/");
    try {
      const url = this.template.replace("{z}", z).replace("{x}", x).replace("{y}", y);
      const answer = await fetch(url, { signal: tile.control.signal });
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      tile.layers = decodeTile(new Uint8Array(await answer.arrayBuffer()));
      for (const layer of tile.layers) {
        layer.areas = pathOf(layer.features.filter(one => one.type === POLYGON));
        layer.lines = pathOf(layer.features.filter(one => one.type === LINE));
      }
    } catch (error) {
      if (error.name === "AbortError") return;
      tile.failed = error.message;
    }
    this.map.redraw();
  }

  // A tile's own content, or until that has come what a tile above it has there.
  _drawTile(pen, tile) {
    let [z, x, y] = tile.key.split("/").map(Number), { left, top, size } = tile;
    let found = this.tiles.get(tile.key);
    while (!found?.layers && z > 0) {
      left -= (x % 2) * size; top -= (y % 2) * size; size *= 2;
      z -= 1; x = Math.floor(x / 2); y = Math.floor(y / 2);
      found = this.tiles.get(`${z}/${x}/${y}`);
    }
    if (!found?.layers) return;
    pen.save();
    pen.beginPath();
    pen.rect(tile.left, tile.top, tile.size, tile.size);  // tiles overlap by a margin
    pen.clip();
    pen.translate(left, top);
    for (const layer of found.layers) this._drawLayer(pen, layer, size / layer.extent);
    pen.restore();
  }

  _drawLayer(pen, layer, scale) {
    pen.save();
    pen.scale(scale, scale);
    pen.lineJoin = "round";
    pen.fillStyle = colour("--fill");
    pen.strokeStyle = colour("--line");
    pen.lineWidth = 1 / scale;
    pen.fill(layer.areas);
    pen.stroke(layer.areas);
    pen.lineWidth = 1.6 / scale;
    pen.stroke(layer.lines);
    const radius = (layer.features.length > 2000 ? 2 : 3.5) / scale;
    const points = layer.features.filter(one => one.type === POINT);
    this._drawPoints(pen, points, radius, colour("--line"));
    const chosen = this.chosen === null ? []
      : layer.features.filter(one => this._name(one) === this.chosen);
    if (chosen.length) {
      pen.fillStyle = colour("--chosen-fill");
      pen.strokeStyle = colour("--chosen");
      pen.lineWidth = 2.5 / scale;
      pen.fill(pathOf(chosen.filter(one => one.type === POLYGON)));
      pen.stroke(pathOf(chosen));
      this._drawPoints(pen, chosen.filter(one => one.type === POINT), radius * 1.6, colour("--chosen"));
    }
    pen.restore();
  }

  _drawPoints(pen, points, radius, fill) {
    pen.fillStyle = fill;
    pen.beginPath();
    for (const { parts } of points) {
      for (const [x, y] of parts) {
        pen.moveTo(x + radius, y);
        pen.arc(x, y, radius, 0, 2 * Math.PI);
      }
    }
    pen.fill();
  }

  // The feature at a pixel of the map, the one on top; null where there is none.
  featureAt(pixel) {
    const pen = document.createElement("canvas").getContext("2d");
    for (const tile of this.inView || []) {
      const { left, top, size } = tile, x = (pixel.x - left) / size, y = (pixel.y - top) / size;
      const layers = this.tiles.get(tile.key)?.layers;
      if (!layers || x < 0 || x >= 1 || y < 0 || y >= 1) continue;
      for (const { features, extent } of layers) {
        const near = 6 * extent / size, [px, py] = [x * extent, y * extent];
        pen.lineWidth = 2 * near;
        const hits = ({ type, parts }) => type === POINT
          ? parts.some(part => Math.hypot(part[0] - px, part[1] - py) <= near)
          : type === POLYGON ? pen.isPointInPath(pathOf([{ type, parts }]), px, py, "evenodd")
            : pen.isPointInStroke(pathOf([{ type, parts }]), px, py);
        // What is small is on top of what is large.
        for (const wanted of [POINT, LINE, POLYGON]) {
          const found = features.findLast(one => one.type === wanted && hits(one));
          if (found) return found;
        }
      }
    }
    return null;
  }

  choose(feature) {
    this.chosen = feature && this._name(feature);
    this.map.redraw();
  }

  // A feature is in several tiles: its number tells that it is the same.
  _name(feature) {
    const plain = (_, value) => (typeof value === "bigint" ? String(value) : value);
    return feature.id ?? JSON.stringify(feature.properties(), plain);
  }

  // Tiles that are not in view are kept, up to a hundred.
  _forget(keys) {
    for (const key of this.tiles.keys()) {
      if (this.tiles.size <= keys.size + 100) return;
      if (!keys.has(key)) this.tiles.delete(key);
    }
  }
}
