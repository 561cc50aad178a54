// Holds custom resources against their published schemas. Reads a JSON list on stdin, prints one line per fault.
//
// The schemas allow unknown fields, as an API server prunes them silently. Here they are faults: every object is watched
// while it is validated, and a field that the validator never asked for is one that the schema does not know.
import { pathToFileURL } from "node:url";

const PACKAGES = {
  "gateway.networking.k8s.io": "gateway-api",
  "keda.sh": "keda",
  "monitoring.coreos.com": "prometheus-operator",
};
const packages = `${process.argv[2]}/node_modules/@kubernetes-models`;

function watched(value, path, unread) {
  if (value === null || typeof value !== "object") return value;
  const inner = Array.isArray(value) ? value.map((each, i) => watched(each, `${path}[${i}]`, unread)) : {};
  if (Array.isArray(value)) return inner;
  for (const key of Object.keys(value)) {
    inner[key] = watched(value[key], `${path}.${key}`, unread);
    unread.add(`${path}.${key}`);
  }
  return new Proxy(inner, {
    get(target, key) {
      if (typeof key === "string") unread.delete(`${path}.${key}`);
      return target[key];
    },
    ownKeys(target) {
      for (const key of Object.keys(target)) unread.delete(`${path}.${key}`);
      return Reflect.ownKeys(target);
    },
  });
}

let text = "";
for await (const chunk of process.stdin) text += chunk;
for (const object of JSON.parse(text)) {
  const [group, version] = object.apiVersion.split("/");
  const place = `${object.kind}/${object.metadata.name}`;
  const file = `${packages}/${PACKAGES[group]}/${group}/${version}/${object.kind}.js`;
  const { [object.kind]: Model } = await import(pathToFileURL(file));
  const unread = new Set();
  try {
    const model = new Model({ metadata: object.metadata });
    model.spec = watched(object.spec, "spec", unread); // the constructor would copy it
    model.validate();
    for (const field of unread) console.log(`${place}: unknown field ${field}`);
  } catch (error) {
    console.log(`${place}: ${error.message}`);
  }
}
