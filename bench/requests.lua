-- Sends the requests of a file to wrk's server, its lines being a path and, where there is one, a token after a space:
-- again and again, or with `once` as second argument each once and then no more.
local ffi = require("ffi")
ffi.cdef("int getpid(void); int kill(int process, int signal);")
local SIGINT = 2
local requests, sent, once = {}, 0, false

function init(arguments)
    for line in io.lines(arguments[1]) do
        local path, token = line:match("^(%S+) ?(%S*)$")
        local headers = {}
        if token ~= "" then headers.authorization = "Bearer " .. token end
        requests[#requests + 1] = wrk.format("GET", path, headers)
    end
    once = arguments[2] == "once"
end

function request()
    sent = sent + 1
    if once and sent == #requests then
        wrk.thread:stop()
        -- wrk's main thread sleeps for as long as it was told, whatever its threads do, unless it is interrupted.
        ffi.C.kill(ffi.C.getpid(), SIGINT)
    end
    return requests[(sent - 1) % #requests + 1]
end
