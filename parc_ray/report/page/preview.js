// A motion in three dimensions: the recorded character, the reference as a ghost, the terrain as voxels. WebGL 2.

// ---------------------------------------------------------------- unpacking (see parc_ray/report/previews.py)

const PER_METRE = 1000, PER_TURN = 1000;

async function unpack(preview, bodies) {
  const packed = Uint8Array.from(atob(preview.data), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  let at = 0;
  // Rows of differences: a number is 7 bits a byte, low ones first, with its sign in the lowest bit.
  const integers = (rows, columns, order) => {
    const values = new Float64Array(rows * columns);
    for (let row = 0; row < rows; row++) {
      let value = 0, slope = 0;
      for (let column = 0; column < columns; column++) {
        let coded = 0, unit = 1, byte;
        do { byte = bytes[at++]; coded += (byte & 127) * unit; unit *= 128; } while (byte > 127);
        const difference = coded % 2 ? -(coded + 1) / 2 : coded / 2;
        slope = order === 2 ? slope + difference : difference;
        value += slope;
        values[row * columns + column] = value;
      }
    }
    return values;
  };
  const clips = {};
  for (const clip of preview.clips) {
    clips[clip.kind] = new Clip(clip, bodies, integers(7 + 3 * (bodies - 1) + bodies, clip.frames, 2));
  }
  const [nx, ny, x, y, dx] = preview.terrain;
  const heights = integers(1, nx * ny, 1).map((value) => value / PER_METRE);
  return { clips, terrain: { nx, ny, x, y, dx, heights }, end: Math.max(...preview.clips.map((clip) => clip.start + clip.seconds)) };
}

class Clip {
  constructor({ start, seconds, frames }, bodies, channels) {
    Object.assign(this, { start, seconds, frames, bodies, channels });
  }

  // Root position, body rotations relative to parents (xyzw) and contacts at a time (s in the motion).
  pose(time) {
    const { frames, bodies, channels } = this;
    const place = Math.max(0, Math.min(1, (time - this.start) / (this.seconds || 1))) * (frames - 1);
    const frame = Math.min(frames - 2, Math.floor(place)), share = place - frame;
    const at = (channel, k) => channels[channel * frames + frame + k];
    const mixed = (channel) => at(channel, 0) * (1 - share) + at(channel, 1) * share;
    const turns = [];
    for (let body = 0; body < bodies; body++) {
      const read = (k) => {
        const first = body ? 7 + 3 * (body - 1) : 3;
        const q = [0, 1, 2].map((c) => at(first + c, k) / PER_TURN);
        q.push(body ? Math.sqrt(Math.max(0, 1 - q[0] ** 2 - q[1] ** 2 - q[2] ** 2)) : at(6, k) / PER_TURN);
        return q;
      };
      turns.push(between(read(0), read(1), share));
    }
    const contacts = turns.map((_, body) => at(7 + 3 * (bodies - 1) + body, Math.round(share)) > 0);
    return { root: [0, 1, 2].map((c) => mixed(c) / PER_METRE), turns, contacts };
  }
}

// ---------------------------------------------------------------- turns (xyzw) and matrices (column by column)

function between(a, b, share) {
  const sign = a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3] < 0 ? -1 : 1;
  return unit(a.map((value, k) => value * (1 - share) + sign * b[k] * share));
}

function unit(v) {
  const length = Math.hypot(...v) || 1;
  return v.map((value) => value / length);
}

function turned(q, v) {
  const [x, y, z, w] = q;
  const t = [2 * (y * v[2] - z * v[1]), 2 * (z * v[0] - x * v[2]), 2 * (x * v[1] - y * v[0])];
  return [v[0] + w * t[0] + y * t[2] - z * t[1], v[1] + w * t[1] + z * t[0] - x * t[2], v[2] + w * t[2] + x * t[1] - y * t[0]];
}

function product(a, b) {
  return [
    a[3] * b[0] + a[0] * b[3] + a[1] * b[2] - a[2] * b[1], a[3] * b[1] - a[0] * b[2] + a[1] * b[3] + a[2] * b[0],
    a[3] * b[2] + a[0] * b[1] - a[1] * b[0] + a[2] * b[3], a[3] * b[3] - a[0] * b[0] - a[1] * b[1] - a[2] * b[2],
  ];
}

const plus = (a, b) => a.map((value, k) => value + b[k]);
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const dotted = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

function placed(position, q) {
  const [x, y, z] = [[1, 0, 0], [0, 1, 0], [0, 0, 1]].map((axis) => turned(q, axis));
  return new Float32Array([...x, 0, ...y, 0, ...z, 0, ...position, 1]);
}

function multiplied(a, b) {
  const out = new Float32Array(16);
  for (let column = 0; column < 4; column++) for (let row = 0; row < 4; row++) {
    for (let k = 0; k < 4; k++) out[column * 4 + row] += a[k * 4 + row] * b[column * 4 + k];
  }
  return out;
}

function looking(eye, at) {
  const back = unit(eye.map((value, k) => value - at[k])), right = unit(cross([0, 0, 1], back)), up = cross(back, right);
  return new Float32Array([right[0], up[0], back[0], 0, right[1], up[1], back[1], 0, right[2], up[2], back[2], 0,
    -dotted(right, eye), -dotted(up, eye), -dotted(back, eye), 1]);
}

function perspective(angle, aspect, near, far) {
  const f = 1 / Math.tan(angle / 2);
  return new Float32Array([f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (far + near) / (near - far), -1, 0, 0, 2 * far * near / (near - far), 0]);
}

function parallel(half, near, far) {
  return new Float32Array([1 / half, 0, 0, 0, 0, 1 / half, 0, 0, 0, 0, -2 / (far - near), 0, 0, 0, -(far + near) / (far - near), 1]);
}

// World positions and rotations of all bodies.
function kinematics(character, pose) {
  const places = [];
  character.bodies.forEach((body, k) => {
    if (body.parent < 0) return places.push([pose.root, pose.turns[0]]);
    const [position, turn] = places[body.parent];
    places.push([plus(position, turned(turn, body.offset)), product(turn, product(body.turn, pose.turns[k]))]);
  });
  return places;
}

// ---------------------------------------------------------------- triangles: [x, y, z, nx, ny, nz] each corner

// A profile of [radius, height, normal outwards, normal upwards] turned around z.
function revolved(profile, sides = 18) {
  const corners = [];
  const corner = ([r, z, nr, nz], side) => {
    const angle = (side / sides) * 2 * Math.PI, c = Math.cos(angle), s = Math.sin(angle);
    corners.push([r * c, r * s, z, nr * c, nr * s, nz]);
  };
  for (let k = 0; k + 1 < profile.length; k++) for (let side = 0; side < sides; side++) {
    const [a, b] = [profile[k], profile[k + 1]];
    corner(a, side); corner(a, side + 1); corner(b, side + 1);
    corner(a, side); corner(b, side + 1); corner(b, side);
  }
  return corners;
}

function shapeCorners({ kind, size, triangles }) {
  const arc = (from, to, radius, lift) => Array.from({ length: 8 }, (_, k) => {
    const angle = from + ((to - from) * k) / 7;
    return [radius * Math.cos(angle), radius * Math.sin(angle) + lift, Math.cos(angle), Math.sin(angle)];
  });
  const quarter = Math.PI / 2;
  if (kind === "capsule") return revolved([...arc(-quarter, 0, size[0], -size[2]), ...arc(0, quarter, size[0], size[2])]);
  if (kind === "cylinder") {
    const [r, h] = [size[0], size[2]];
    return [...revolved([[0, -h, 0, -1], [r, -h, 0, -1]]), ...revolved([[r, -h, 1, 0], [r, h, 1, 0]]), ...revolved([[r, h, 0, 1], [0, h, 0, 1]])];
  }
  if (kind === "ellipsoid") {
    return revolved([...arc(-quarter, 0, 1, 0), ...arc(0, quarter, 1, 0)])
      .map(([x, y, z, nx, ny, nz]) => [x * size[0], y * size[1], z * size[2], ...unit([nx / size[0], ny / size[1], nz / size[2]])]);
  }
  if (kind === "hull") return triangles.map((corner, k) => {
    const [a, b, c] = triangles.slice(k - (k % 3), k - (k % 3) + 3), minus = (p) => p.map((value, axis) => value - a[axis]);
    return [...corner, ...unit(cross(minus(b), minus(c)))];
  });
  const corners = [];
  for (let axis = 0; axis < 3; axis++) for (const side of [-1, 1]) {
    const [u, v] = [(axis + 1) % 3, (axis + 2) % 3];
    const at = (a, b) => { const p = [0, 0, 0, 0, 0, 0]; p[axis] = side * size[axis]; p[u] = a * size[u]; p[v] = b * size[v]; p[axis + 3] = side; return p; };
    const [a, b, c, d] = [at(-1, -1), at(1, -1), at(1, 1), at(-1, 1)];
    corners.push(...(side > 0 ? [a, b, c, a, c, d] : [a, c, b, a, d, c]));
  }
  return corners;
}

function bodyCorners(character, body) {
  return character.geoms.filter((geom) => geom.body === body).flatMap((geom) => shapeCorners(geom).map((corner) => [
    ...plus(turned(geom.turn, corner.slice(0, 3)), geom.place), ...turned(geom.turn, corner.slice(3))]));
}

function groundCorners({ nx, ny, x, y, dx, heights }) {
  const corners = [], half = dx / 2, at = (i, j) => heights[i * ny + j];
  const quad = (a, b, c, d, normal) => [a, b, c, a, c, d].forEach((p) => corners.push([...p, ...normal]));
  const bottom = Math.min(...heights) - 0.25;
  for (let i = 0; i < nx; i++) for (let j = 0; j < ny; j++) {
    const [x0, x1, y0, y1, z] = [x + i * dx - half, x + i * dx + half, y + j * dx - half, y + j * dx + half, at(i, j)];
    quad([x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z], [0, 0, 1]);
    const wall = (k, l, from, to, normal) => {
      const low = k < 0 || l < 0 || k >= nx || l >= ny ? bottom : at(k, l);
      if (low < z) quad([...from, low], [...to, low], [...to, z], [...from, z], normal);
    };
    wall(i + 1, j, [x1, y0], [x1, y1], [1, 0, 0]);
    wall(i - 1, j, [x0, y1], [x0, y0], [-1, 0, 0]);
    wall(i, j + 1, [x1, y1], [x0, y1], [0, 1, 0]);
    wall(i, j - 1, [x0, y0], [x1, y0], [0, -1, 0]);
  }
  return corners;
}

// ---------------------------------------------------------------- drawing

const VERTEX = `#version 300 es
layout(location = 0) in vec3 corner; layout(location = 1) in vec3 normal;
uniform mat4 model, view, light;
out vec3 world, facing; out vec4 lit;
void main() {
  vec4 place = model * vec4(corner, 1.0);
  world = place.xyz; facing = mat3(model) * normal; lit = light * place; gl_Position = view * place;
}`;

const FRAGMENT = `#version 300 es
precision highp float; precision highp sampler2DShadow;
in vec3 world, facing; in vec4 lit;
uniform vec4 tone; uniform vec3 sun, ground; uniform vec2 relief; uniform sampler2DShadow shadows;
out vec4 seen;
void main() {
  vec3 n = normalize(facing);
  vec3 place = lit.xyz / lit.w * 0.5 + 0.5;
  float open = 0.0;
  for (int i = -1; i <= 1; i++) for (int j = -1; j <= 1; j++)
    open += texture(shadows, vec3(place.xy + vec2(i, j) / 1024.0, place.z - 0.0035));
  bool outside = any(lessThan(place, vec3(0.0))) || any(greaterThan(place, vec3(1.0)));
  float bright = 0.6 + 0.14 * n.z + 0.4 * max(0.0, dot(n, sun)) * (outside ? 1.0 : open / 9.0);
  vec3 base = tone.rgb;
  if (ground.z > 0.0 && n.z > 0.5) {
    vec2 cell = fract((world.xy - ground.xy) / ground.z + 0.5), width = fwidth(world.xy / ground.z) * 1.2;
    vec2 edge = smoothstep(vec2(0.0), width, min(cell, 1.0 - cell));
    base *= 1.0 - 0.12 * (1.0 - min(edge.x, edge.y)) - 0.16 * (1.0 - (world.z - relief.x) / max(relief.y - relief.x, 0.01));
  }
  seen = vec4(base * bright, tone.a);
}`;

const SUN = unit([0.45, -0.35, 0.85]);

class Drawing {
  constructor(canvas, character) {
    this.canvas = canvas;
    this.character = character;
    const gl = canvas.getContext("webgl2", { antialias: true, alpha: false });
    if (!gl) throw new Error("This browser has no WebGL 2, which the preview needs.");
    this.gl = gl;
    this.program = this.linked(VERTEX, FRAGMENT);
    this.shadowProgram = this.linked(VERTEX, "#version 300 es\nprecision highp float;\nvoid main() {}");
    this.shadow = this.shadowMap(1024);
    this.bodies = character.bodies.map((_, body) => this.mesh(bodyCorners(character, body)));
    this.view = { yaw: -2.2, pitch: 0.35, distance: 4.2, target: [0, 0, 1] };
  }

  linked(vertex, fragment) {
    const { gl } = this, program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) || "The preview's program does not work here.");
    const places = {};
    for (const name of ["model", "view", "light", "tone", "sun", "ground", "relief", "shadows"]) places[name] = gl.getUniformLocation(program, name);
    return { program, places };
  }

  shadowMap(size) {
    const { gl } = this, texture = gl.createTexture(), frame = gl.createFramebuffer();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.DEPTH_COMPONENT24, size, size);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_COMPARE_MODE, gl.COMPARE_REF_TO_TEXTURE);
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.LINEAR);
    gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.DEPTH_ATTACHMENT, gl.TEXTURE_2D, texture, 0);
    gl.drawBuffers([gl.NONE]);
    return { frame, size };
  }

  mesh(corners) {
    const { gl } = this, array = gl.createVertexArray(), buffer = gl.createBuffer();
    gl.bindVertexArray(array);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(corners.flat()), gl.STATIC_DRAW);
    for (const place of [0, 1]) {
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, 3, gl.FLOAT, false, 24, place * 12);
    }
    return { array, buffer, count: corners.length };
  }

  setTerrain(terrain) {
    if (this.ground) {
      this.gl.deleteBuffer(this.ground.buffer);
      this.gl.deleteVertexArray(this.ground.array);
    }
    this.ground = this.mesh(groundCorners(terrain));
    this.terrain = terrain;
    this.relief = [Math.min(...terrain.heights), Math.max(...terrain.heights)];
  }

  put({ places }, mesh, model, tone) {
    const { gl } = this;
    gl.uniformMatrix4fv(places.model, false, model);
    if (places.tone) gl.uniform4fv(places.tone, tone);
    gl.bindVertexArray(mesh.array);
    gl.drawArrays(gl.TRIANGLES, 0, mesh.count);
  }

  // pose and ghost: poses, or null.
  draw(pose, ghost) {
    const { gl, canvas, view } = this;
    const scale = Math.min(2, devicePixelRatio || 1);
    const [width, height] = [Math.max(2, Math.round(canvas.clientWidth * scale)), Math.max(2, Math.round(canvas.clientHeight * scale))];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const identity = placed([0, 0, 0], [0, 0, 0, 1]);
    const models = (one) => one && kinematics(this.character, one).map(([position, turn]) => placed(position, turn));
    const [solid, faint] = [models(pose), models(ghost)];
    const light = multiplied(parallel(3.2, 0.5, 30), looking(plus(view.target, SUN.map((value) => value * 12)), view.target));
    const eye = plus(view.target, [Math.cos(view.yaw) * Math.cos(view.pitch), Math.sin(view.yaw) * Math.cos(view.pitch), Math.sin(view.pitch)].map((value) => value * view.distance));
    const camera = multiplied(perspective(0.8, width / height, 0.05, 120), looking(eye, view.target));
    gl.enable(gl.DEPTH_TEST);
    gl.disable(gl.BLEND);

    gl.bindFramebuffer(gl.FRAMEBUFFER, this.shadow.frame);
    gl.viewport(0, 0, this.shadow.size, this.shadow.size);
    gl.clear(gl.DEPTH_BUFFER_BIT);
    gl.useProgram(this.shadowProgram.program);
    gl.uniformMatrix4fv(this.shadowProgram.places.view, false, light);
    this.put(this.shadowProgram, this.ground, identity);
    (solid || faint || []).forEach((model, k) => this.put(this.shadowProgram, this.bodies[k], model));

    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, width, height);
    gl.clearColor(...rgb("sky"), 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const { program, places } = this.program;
    gl.useProgram(program);
    gl.uniformMatrix4fv(places.view, false, camera);
    gl.uniformMatrix4fv(places.light, false, light);
    gl.uniform3fv(places.sun, SUN);
    gl.uniform3f(places.ground, this.terrain.x, this.terrain.y, this.terrain.dx);
    gl.uniform2f(places.relief, ...this.relief);
    this.put(this.program, this.ground, identity, [...rgb("ground"), 1]);
    gl.uniform3f(places.ground, 0, 0, 0);
    const [body, touch, shade] = [rgb("body"), rgb("touch"), rgb("ghost")];
    (solid || []).forEach((model, k) => this.put(this.program, this.bodies[k], model, [...(pose.contacts[k] ? touch : body), 1]));
    if (faint) {
      // First its depth alone, so that no inner side shines through.
      gl.colorMask(false, false, false, false);
      faint.forEach((model, k) => this.put(this.program, this.bodies[k], model, [0, 0, 0, 1]));
      gl.colorMask(true, true, true, true);
      gl.enable(gl.BLEND);
      gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
      gl.depthFunc(gl.LEQUAL);
      faint.forEach((model, k) => this.put(this.program, this.bodies[k], model, [...shade, solid ? 0.34 : 0.6]));
      gl.depthFunc(gl.LESS);
    }
  }
}

const colors = new Map();
function rgb(name) {
  const text = color(name);
  if (!colors.has(text)) colors.set(text, [1, 3, 5].map((k) => parseInt(text.slice(k, k + 2), 16) / 255));
  return colors.get(text);
}

// ---------------------------------------------------------------- the player

const FOLLOW_SECONDS = 0.1;

class Player {
  constructor(character) {
    this.character = character;
    this.time = 0;
    this.speed = 1;
    this.playing = false;
    this.motion = null;
    this.build();
    this.tick = this.tick.bind(this);
  }

  build() {
    this.canvas = element("canvas", { id: "drawing", tabindex: 0, role: "img", "aria-label": "Preview of the motion in three dimensions. Space plays, arrow keys turn the view, plus and minus zoom." });
    this.message = element("div", { class: "message" });
    this.button = element("button", { type: "button", id: "play", onclick: () => this.toggle() }, "Play");
    this.slider = element("input", { type: "range", id: "scrub", min: 0, max: 1000, value: 0, "aria-label": "Time in the motion", oninput: () => { this.pause(); this.seek((this.slider.value / 1000) * this.end); } });
    this.clock = element("output", { id: "clock" });
    const box = (label, checked, change) => {
      const input = element("input", { type: "checkbox", onchange: () => { change(input.checked); this.draw(); } });
      input.checked = checked;
      return [input, element("label", {}, input, label)];
    };
    [this.ghostBox, this.ghostLabel] = box("Reference", true, () => {});
    [this.followBox, this.followLabel] = box("Follow", true, () => {});
    const speed = element("select", { "aria-label": "Speed", onchange: () => { this.speed = Number(speed.value); } },
      [[0.25, "¼×"], [0.5, "½×"], [1, "1×"], [2, "2×"]].map(([value, label]) => element("option", { value, selected: value === 1 }, label)));
    this.track = element("div", { class: "track" });
    this.lanes = element("div", {});
    this.note = element("p", { class: "soft" });
    this.node = element("div", {},
      element("div", { class: "drawing" }, this.canvas, this.message),
      element("div", { class: "controls" }, this.button, speed, this.ghostLabel, this.followLabel, this.clock),
      element("div", { class: "track" }, this.slider, this.lanes),
      element("p", { class: "keys" }, "Drag to turn, wheel to zoom, space to play. Orange bodies are in contact. Below the slider: the attempts."), this.note);
    this.canvas.addEventListener("pointerdown", (event) => { this.canvas.setPointerCapture(event.pointerId); this.dragged = [event.clientX, event.clientY]; });
    this.canvas.addEventListener("pointerup", () => { this.dragged = null; });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!this.dragged) return;
      this.orbit((this.dragged[0] - event.clientX) * 0.008, (event.clientY - this.dragged[1]) * 0.006, 1);
      this.dragged = [event.clientX, event.clientY];
    });
    this.canvas.addEventListener("wheel", (event) => {
      // A page that cannot be scrolled past its preview is worse than a preview that needs a click first.
      if (document.activeElement !== this.canvas) return;
      event.preventDefault();
      this.orbit(0, 0, Math.exp(event.deltaY * 0.001));
    }, { passive: false });
    this.canvas.addEventListener("keydown", (event) => {
      const turn = { ArrowLeft: [-0.12, 0, 1], ArrowRight: [0.12, 0, 1], ArrowUp: [0, 0.08, 1], ArrowDown: [0, -0.08, 1], "+": [0, 0, 0.9], "=": [0, 0, 0.9], "-": [0, 0, 1.1] }[event.key];
      if (turn) this.orbit(...turn);
      else if (event.key === " ") this.toggle();
      else return;
      event.preventDefault();
    });
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    redrawn.push(() => this.draw());
  }

  orbit(yaw, pitch, zoom) {
    if (!this.drawing) return;
    const { view } = this.drawing;
    view.yaw += yaw;
    view.pitch = Math.max(-0.1, Math.min(1.5, view.pitch + pitch));
    view.distance = Math.max(1.2, Math.min(40, view.distance * zoom));
    this.draw();
  }

  // Shows a motion; preview is what was packed of it, or null, and `missing` says why.
  async open(row, preview, missing, play) {
    this.pause();
    this.motion = null;
    this.time = 0;
    this.end = row.seconds || 1;
    this.note.textContent = preview ? preview.note : "";
    this.drawLanes(row);
    const failed = (text) => { this.message.textContent = text; this.message.hidden = false; for (const part of [this.button, this.slider]) part.disabled = true; this.clock.textContent = ""; };
    if (!preview) return failed(missing);
    this.current = preview;
    try {
      this.drawing = this.drawing || new Drawing(this.canvas, this.character);
      const motion = await unpack(preview, this.character.bodies.length);
      if (this.current !== preview) return; // another one was opened meanwhile
      this.motion = motion;
      this.end = Math.max(row.seconds || 0, motion.end);
      this.drawing.setTerrain(motion.terrain);
    } catch (error) {
      return failed(error.message);
    }
    this.message.hidden = true;
    for (const part of [this.button, this.slider]) part.disabled = false;
    this.ghostBox.disabled = !this.motion.clips.reference || !this.motion.clips.recording;
    const clip = this.motion.clips.recording || this.motion.clips.reference;
    const [from, to] = [clip.pose(clip.start).root, clip.pose(clip.start + clip.seconds).root];
    const far = Math.hypot(to[0] - from[0], to[1] - from[1]) > 0.5;
    Object.assign(this.drawing.view, { yaw: (far ? Math.atan2(to[1] - from[1], to[0] - from[0]) : 0) - 1.05, pitch: 0.3, distance: 3.8 });
    this.aim(clip.pose(0).root, Infinity);
    this.seek(0);
    if (play && !matchMedia("(prefers-reduced-motion: reduce)").matches) this.toggle();
  }

  drawLanes(row) {
    const attempts = row.attempts.filter((attempt) => attempt.outcome !== OUTCOME.LOST);
    const height = 9;
    const svg = drawn("svg", { viewBox: `0 0 1000 ${attempts.length * height + 2}`, preserveAspectRatio: "none", height: attempts.length * height + 2, role: "img", "aria-label": "Where in the motion each attempt began and ended" });
    attempts.forEach((attempt, k) => {
      const x = (time) => 8 + Math.min(1, time / this.end) * 984;
      const tone = attemptTone(attempt);
      svg.append(drawn("rect", {
        x: x(attempt.start_time), width: Math.max(3, x(attempt.start_time + attempt.seconds) - x(attempt.start_time)), y: k * height + 1, height: height - 2, fill: `var(--${tone})`,
        onpointermove: (event) => tip.show(event, `${attemptName(attempt)}: ${word(attempt.outcome)} ${attempt.reason}`), onpointerleave: tip.hide,
      }));
    });
    this.lanes.replaceChildren(svg);
  }

  toggle() {
    if (!this.motion) return;
    if (this.playing) return this.pause();
    if (this.time >= this.end - 1e-3) this.seek(0);
    this.playing = true;
    this.button.textContent = "Pause";
    this.before = null;
    requestAnimationFrame(this.tick);
  }

  pause() {
    this.playing = false;
    this.button.textContent = "Play";
  }

  tick(now) {
    if (!this.playing) return;
    const step = this.before === null ? 0 : Math.min(0.25, (now - this.before) / 1000) * this.speed;
    this.before = now;
    this.time += step;
    // Half a second of rest at the end, then again.
    if (this.time > this.end + 0.5) this.seek(0);
    else this.seek(this.time, step);
    requestAnimationFrame(this.tick);
  }

  // step: how much of the motion (s) the camera has had to follow; without, it jumps.
  seek(time, step = Infinity) {
    this.time = time;
    const shown = Math.min(time, this.end);
    this.slider.value = Math.round((shown / this.end) * 1000);
    this.draw(step);
  }

  // The camera is FOLLOW_SECONDS behind, however many pictures a second are drawn.
  aim(root, step) {
    const { view } = this.drawing, lag = Math.exp(-step / FOLLOW_SECONDS);
    view.target = [root[0], root[1], root[2] - 0.1].map((value, k) => value + (view.target[k] - value) * lag);
  }

  draw(step = this.playing ? 0 : Infinity) {
    if (!this.motion || !this.drawing) return;
    const time = Math.min(this.time, this.end);
    const { recording, reference } = this.motion.clips;
    const pose = recording && time >= recording.start - 1e-6 ? recording.pose(time) : null;
    const ghost = reference && (this.ghostBox.checked || !recording) ? reference.pose(time) : null;
    const followed = pose || (reference && reference.pose(time)) || recording.pose(time);
    if (this.followBox.checked) this.aim(followed.root, step);
    this.drawing.draw(pose, ghost);
    const apart = pose && reference ? Math.hypot(...reference.pose(time).root.map((value, k) => value - pose.root[k])) : null;
    this.clock.textContent = `${time.toFixed(2)} / ${this.end.toFixed(2)} s` + (apart === null ? "" : ` · root ${Math.round(apart * 100)} cm off`);
  }
}
