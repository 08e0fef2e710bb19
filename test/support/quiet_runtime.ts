/** For `node --import`: programs here load ONNX Runtime themselves, and its telemetry has no place in them either. */
import { RUNTIME_ENVIRONMENT } from '../../models/runtime_environment.ts';

Object.assign(process.env, RUNTIME_ENVIRONMENT);
