/* Writes face_recognition.json: what face-api itself makes of two pictures given by formulas.

    npm pack @vladmandic/face-api@1.7.15 && tar xzf vladmandic-face-api-1.7.15.tgz
    node tests/golden/make_face_recognition.cjs package

`package` is what the archive unpacks to. The bundle computes on its own CPU back-end; it is told
that it runs in a page, since its Node part needs a native TensorFlow.
*/

const fs = require("fs");
const path = require("path");

const SIZE = 150;
// Levels 0 to 255 of row y, column x, colour c; tests/test_identity.py has the same formulas.
const PICTURES = {
  noise: (y, x, c) => (((y * SIZE + x) * 3 + c) * 7919) % 256,
  waves: (y, x, c) => 128 + 100 * Math.sin(((c + 1) * y) / 20) * Math.cos(((3 - c) * x) / 25),
};

function library(folder) {
  const code = fs.readFileSync(path.join(folder, "dist", "face-api.js"), "utf8");
  const page = { document: { createElement: () => ({}) } };
  const run = new Function("process", "window", "document", `${code}; return faceapi`);
  return run(undefined, page, page.document);
}

function network(faceapi, folder) {
  const name = path.join(folder, "model", "face_recognition_model");
  const manifest = JSON.parse(fs.readFileSync(`${name}-weights_manifest.json`, "utf8"));
  const bytes = new Uint8Array(fs.readFileSync(`${name}.bin`)).buffer;
  const net = new faceapi.FaceRecognitionNet();
  net.loadFromWeightMap(faceapi.tf.io.decodeWeights(bytes, manifest[0].weights));
  return net;
}

function descriptor(faceapi, net, level) {
  const levels = new Float32Array(SIZE * SIZE * 3);
  for (let i = 0; i < levels.length; i++) {
    levels[i] = level(Math.floor(i / 3 / SIZE), Math.floor(i / 3) % SIZE, i % 3);
  }
  const picture = faceapi.tf.tensor4d(levels, [1, SIZE, SIZE, 3]);
  return Array.from(net.forwardInput(new faceapi.NetInput([picture], true)).dataSync());
}

async function main(folder) {
  const faceapi = library(folder);
  await faceapi.tf.setBackend("cpu");
  const net = network(faceapi, folder);
  const found = { maker: `face-api 1.7.15, tfjs ${faceapi.tf.version.tfjs}, CPU` };
  for (const [name, level] of Object.entries(PICTURES)) {
    found[name] = descriptor(faceapi, net, level);
  }
  const file = path.join(__dirname, "face_recognition.json");
  fs.writeFileSync(file, JSON.stringify(found, null, 1) + "\n");
}

main(process.argv[2]);
