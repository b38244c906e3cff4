-- Send the bodies in some files, one after the other, over and over.
-- Arguments: the content type, the length of the bodies' JSON head ("0" for none), the files.

local prepared, turn = {}, 0

function init(arguments)
  for i = 3, #arguments do
    local file = assert(io.open(arguments[i], "rb"))
    local headers = {["Content-Type"] = arguments[1]}
    if arguments[2] ~= "0" then
      headers["Inference-Header-Content-Length"] = arguments[2]
    end
    prepared[#prepared + 1] = wrk.format("POST", nil, headers, file:read("*a"))
    file:close()
  end
end

function request()
  turn = turn % #prepared + 1
  return prepared[turn]
end

-- One line of JSON, the last on stdout; durations are microseconds.
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "duration": %d, "p50": %d, "p99": %d, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
