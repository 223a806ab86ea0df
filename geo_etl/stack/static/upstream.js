"use strict";
// What the upstream servers' pages call of jQuery and Leaflet, and no more, on the map of map.js.

function $(what) {
  if (typeof what === "function") return addEventListener("DOMContentLoaded", what);
  const found = document.querySelector(what);
  return {
    val: () => found.value,
    html: text => { found.textContent = text; },
    on: (event, heard) => found.addEventListener(event, heard),
  };
}

class GeoJsonLayer {
  constructor(geojson, { onEachFeature = () => {} } = {}) {
    this.shapes = (geojson.features || [geojson]).filter(one => one.geometry).map(feature => {
      const shape = { geometry: feature.geometry, popup: null };
      onEachFeature(feature, { bindPopup: popup => { shape.popup = popup; } });
      return shape;
    });
  }

  addTo(map) { map.addLayer(this); return this; }

  added(map) {
    map.onclick = (place, pixel) => {
      const hit = this.shapes.findLast(one => one.popup && this._isAt(one.geometry, pixel));
      map.popup?.remove();
      if (!hit) return;
      map.popup = document.createElement("aside");
      map.popup.className = "panel";
      map.popup.style = "left: 60px; top: 12px; max-height: 80%; overflow: auto";
      map.popup.append(hit.popup);
      map.element.append(map.popup);
    };
  }

  getBounds() {
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    const widen = value => {
      if (Array.isArray(value[0])) return value.forEach(widen);
      const [x, y] = value;
      box[0] = Math.min(box[0], x); box[1] = Math.min(box[1], y);
      box[2] = Math.max(box[2], x); box[3] = Math.max(box[3], y);
    };
    for (const { geometry } of this.shapes) {
      for (const one of geometry.geometries || [geometry]) widen(one.coordinates);
    }
    return box;
  }

  draw(map) {
    this.map = map;
    const pen = map.canvas.getContext("2d");
    pen.fillStyle = colour("--fill");
    pen.strokeStyle = colour("--line");
    pen.lineWidth = 1.5;
    for (const { geometry } of this.shapes) {
      const { areas, lines, points } = this._paths(geometry);
      pen.fill(areas, "evenodd");
      for (const path of [areas, lines, points]) pen.stroke(path);
    }
  }

  _isAt(geometry, { x, y }) {
    const pen = document.createElement("canvas").getContext("2d");
    const { areas, lines, points } = this._paths(geometry);
    pen.lineWidth = 12;
    return pen.isPointInPath(areas, x, y, "evenodd") || pen.isPointInStroke(lines, x, y)
      || pen.isPointInPath(points, x, y);
  }

  // Paths in pixels of the map as it is now.
  _paths(geometry) {
    const paths = { areas: new Path2D(), lines: new Path2D(), points: new Path2D() };
    const pixel = ([x, y]) => this.map.pixel({ x: worldX(x), y: worldY(y) });
    const trace = (path, places, isClosed) => {
      places.forEach((place, number) => {
        const { x, y } = pixel(place);
        if (number) path.lineTo(x, y); else path.moveTo(x, y);
      });
      if (isClosed) path.closePath();
    };
    const dot = place => {
      const { x, y } = pixel(place);
      paths.points.moveTo(x + 4, y);
      paths.points.arc(x, y, 4, 0, 2 * Math.PI);
    };
    const adders = {
      Point: dot,
      MultiPoint: places => places.forEach(dot),
      LineString: places => trace(paths.lines, places, false),
      MultiLineString: parts => parts.forEach(part => trace(paths.lines, part, false)),
      Polygon: rings => rings.forEach(ring => trace(paths.areas, ring, true)),
      MultiPolygon: parts => parts.flat().forEach(ring => trace(paths.areas, ring, true)),
    };
    for (const one of geometry.geometries || [geometry]) adders[one.type](one.coordinates);
    return paths;
  }
}

const L = {
  TileLayer: class {},  // a background from the internet
  geoJSON: (geojson, options) => new GeoJsonLayer(geojson, options),
  polygon: corners => new GeoJsonLayer({
    geometry: { type: "Polygon", coordinates: [corners.map(([y, x]) => [x, y])] },
  }),
  map: id => {
    const element = document.getElementById(id);
    element.textContent = "";
    element.classList.add("map", "inset");
    const map = new WorldMap(element);
    return Object.assign(map, {
      setView: () => map,
      addLayer: layer => { if (layer instanceof GeoJsonLayer) map.add(layer); },
      fitBounds: box => { if (Number.isFinite(box[0])) map.fit(box); },
    });
  },
};
