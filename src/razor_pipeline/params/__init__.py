"""One frozen, validated record per parameter group of ``conf/*/parameters*.yml``.

Kedro validates a node's ``params:<group>`` input against these records before any node runs: an unknown key,
a wrong type or a value out of range stops the run with a sentence that names it. This package is a leaf: of
the project it imports the wording of refusals and nothing else.
"""
