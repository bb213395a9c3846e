"""What a pickle of a model may import: names that build data and estimators, and do nothing else when they are called.

The names were taken from models of scikit-learn, pandas, joblib and PyTorch as cloudpickle, joblib and torch.save write them.
Whatever is not here is refused, until the policy allows it (`allow_globals`). Whether it is merely unusual or known
to be dangerous is told by picklescan's list, and by a few names more.
"""

from __future__ import annotations

import io
import logging
import pickle
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from pilotage.gates.security.opcodes import EXTENSION, UNKNOWN, Global

Verdict = Literal["allowed", "unusual", "dangerous", "code"]

_BUILT_IN = frozenset({"object", "list", "dict", "set", "frozenset", "tuple", "bytes", "bytearray", "str", "int", "float", "complex",
                       "bool", "slice", "range", "Ellipsis", "NotImplemented"})
_UFUNCS = frozenset({"log", "log1p", "log2", "log10", "exp", "expm1", "exp2", "sqrt", "cbrt", "square", "sin", "cos", "tan", "arcsin",
                     "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "absolute", "abs", "sign", "reciprocal", "negative",
                     "rint", "floor", "ceil", "trunc", "isnan", "isfinite", "mean", "median", "sum", "min", "max", "amin", "amax", "std",
                     "var", "nan_to_num", "asarray", "array"})
_NUMPY_TYPES = re.compile(r"(u?int|float|complex)\d+|bool_?|str_|bytes_|object_|void|datetime64|timedelta64|longdouble|longlong|intc|intp")
_EXACT: dict[str, frozenset[str]] = {
    "builtins": _BUILT_IN,
    "__builtin__": _BUILT_IN | {"unicode", "long", "xrange"},
    "collections": frozenset({"OrderedDict", "defaultdict", "deque", "Counter"}),
    "copyreg": frozenset({"_reconstructor"}),
    "copy_reg": frozenset({"_reconstructor"}),
    "_codecs": frozenset({"encode"}),
    "datetime": frozenset({"date", "datetime", "time", "timedelta", "timezone"}),
    "decimal": frozenset({"Decimal"}),
    "fractions": frozenset({"Fraction"}),
    "uuid": frozenset({"UUID", "SafeUUID"}),
    "pathlib": frozenset({"PurePosixPath", "PureWindowsPath"}),
    "numpy": frozenset({"ndarray", "dtype", "ufunc"}) | _UFUNCS,
    "numpy.dtypes": frozenset({"StringDType"}),
    "numpy.ma": frozenset({"MaskedArray"}),
    "numpy.ma.core": frozenset({"MaskedArray", "_mareconstruct", "MaskedConstant"}),
    "numpy.random": frozenset({"RandomState", "Generator"}),
    "numpy.random._pickle": frozenset({"__randomstate_ctor", "__bit_generator_ctor", "__generator_ctor"}),
    "numpy.random._mt19937": frozenset({"MT19937"}),
    "numpy.random._pcg64": frozenset({"PCG64", "PCG64DXSM"}),
    "numpy.random._philox": frozenset({"Philox"}),
    "numpy.random._sfc64": frozenset({"SFC64"}),
    "numpy.random.bit_generator": frozenset({"SeedSequence", "__pyx_unpickle_SeedSequence"}),
    "scipy.interpolate._bsplines": frozenset({"BSpline"}),
    "scipy.interpolate._interpolate": frozenset({"interp1d", "PPoly", "BPoly"}),
    "scipy.spatial._ckdtree": frozenset({"cKDTree"}),
    "scipy.spatial._kdtree": frozenset({"KDTree"}),
    "scipy._lib.array_api_compat.numpy._aliases": frozenset({"asarray"}),
    "scipy.special._ufuncs": frozenset({"expit", "logit", "softmax"}),
    "_loss": frozenset({"CyHalfBinomialLoss", "CyHalfMultinomialLoss", "CyHalfSquaredError", "CyAbsoluteError", "CyPinballLoss",
                        "CyHuberLoss", "CyHalfPoissonLoss", "CyHalfGammaLoss", "CyHalfTweedieLoss", "CyHalfTweedieLossIdentity",
                        "CyExponentialLoss"}),
    "pandas._libs.arrays": frozenset({"__pyx_unpickle_NDArrayBacked"}),
    "pandas._libs.internals": frozenset({"_unpickle_block"}),
    "pandas._libs.tslibs.timestamps": frozenset({"Timestamp", "_unpickle_timestamp"}),
    "pandas._libs.tslibs.timedeltas": frozenset({"Timedelta", "_timedelta_unpickle"}),
    "pandas._libs.tslibs.nattype": frozenset({"_nat_unpickle"}),
    "pandas._libs.missing": frozenset({"NAType"}),
    "pandas.core.frame": frozenset({"DataFrame"}),
    "pandas.core.series": frozenset({"Series"}),
    "pandas.core.internals.managers": frozenset({"BlockManager", "SingleBlockManager"}),
    "pandas.core.indexes.base": frozenset({"Index", "_new_Index"}),
    "pandas.core.indexes.range": frozenset({"RangeIndex"}),
    "pandas.core.indexes.multi": frozenset({"MultiIndex"}),
    "pandas.core.indexes.category": frozenset({"CategoricalIndex"}),
    "pandas.core.indexes.datetimes": frozenset({"DatetimeIndex", "_new_DatetimeIndex"}),
    "pandas.core.indexes.interval": frozenset({"IntervalIndex"}),
    "pandas.core.arrays.categorical": frozenset({"Categorical"}),
    "pandas.core.arrays.datetimes": frozenset({"DatetimeArray"}),
    "pandas.core.arrays.timedeltas": frozenset({"TimedeltaArray"}),
    "pandas.core.arrays.integer": frozenset({"IntegerArray"}),
    "pandas.core.arrays.floating": frozenset({"FloatingArray"}),
    "pandas.core.arrays.boolean": frozenset({"BooleanArray"}),
    "pandas.core.arrays.string_": frozenset({"StringArray", "StringDtype"}),
    "pandas.core.dtypes.dtypes": frozenset({"CategoricalDtype", "DatetimeTZDtype", "IntervalDtype", "PeriodDtype"}),
    "joblib.numpy_pickle": frozenset({"NumpyArrayWrapper"}),
    "sklearn.metrics._dist_metrics": frozenset({"newObj"}),
    "sklearn.neighbors._kd_tree": frozenset({"newObj"}),
    "sklearn.neighbors._ball_tree": frozenset({"newObj"}),
    "sklearn.feature_selection._univariate_selection": frozenset({"f_classif", "f_regression", "chi2", "f_oneway", "r_regression"}),
    "sklearn.feature_selection._mutual_info": frozenset({"mutual_info_classif", "mutual_info_regression"}),
    "torch": frozenset({"Size", "device", "dtype", "float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8",
                        "bool", "Tensor", "BFloat16Storage", "BoolStorage", "ByteStorage", "CharStorage", "DoubleStorage", "FloatStorage",
                        "HalfStorage", "IntStorage", "LongStorage", "ShortStorage"}),
    "torch._utils": frozenset({"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter"}),
    "torch.storage": frozenset({"TypedStorage", "UntypedStorage"}),
    "torch.nn.parameter": frozenset({"Parameter"}),
}
_ARRAYS = frozenset({"_reconstruct", "scalar", "_frombuffer", "_ufunc_reduce"})
_ARRAY_MODULES = frozenset({f"numpy.{core}.{module}" for core in ("core", "_core")
                            for module in ("multiarray", "numeric", "_internal", "umath")} - {"numpy.core.umath", "numpy._core.umath"})
_CLASS = re.compile(r"_{0,2}[A-Z][A-Za-z0-9]*")
_SKLEARN = re.compile(r"sklearn(\.[a-zA-Z_][a-zA-Z0-9_]*)*")
_SKLEARN_NOT = re.compile(r"(^|\.)(datasets|externals|tests|conftest|_testing|_build_utils|_min_dependencies|parallel|_joblib"
                          r"|inspection)(\.|$)")
_SPARSE = re.compile(r"scipy\.sparse\._?(csr|csc|coo|bsr|dia|dok|lil)")
_SPARSE_CLASS = re.compile(r"(csr|csc|coo|bsr|dia|dok|lil)_(matrix|array)")
_NETWORK = re.compile(r"torch\.nn\.modules\.(activation|batchnorm|container|conv|dropout|embedding|flatten|linear|normalization"
                      r"|pooling|rnn|sparse)")

_MORE_DANGEROUS: dict[str, frozenset[str]] = {
    "builtins": frozenset({"__import__", "setattr", "delattr", "globals", "locals", "vars", "input", "map", "filter", "type", "super",
                           "memoryview", "help", "execfile", "file", "reload"}),
    "numpy": frozenset({"load", "fromfile", "memmap", "genfromtxt", "loadtxt", "save", "savez"}),
    "pandas": frozenset({"read_pickle", "eval", "HDFStore"}),
    "pandas.io.pickle": frozenset({"read_pickle", "to_pickle"}),
    "pandas.core.computation.eval": frozenset({"eval"}),
    "joblib": frozenset({"load"}),
    "joblib.numpy_pickle": frozenset({"load", "NDArrayWrapper"}),
    "torch": frozenset({"load"}),
    "functools": frozenset({"partial", "reduce"}),
}
_DANGEROUS_MODULES = frozenset({
    "importlib", "multiprocessing", "threading", "concurrent", "tempfile", "glob", "http", "urllib", "ftplib", "smtplib", "telnetlib",
    "xmlrpc", "imp", "zipimport", "marshal", "shelve", "dill", "sqlite3", "signal", "linecache", "gc", "inspect", "pkgutil",
    "platform", "codeop", "code", "site", "mmap", "_thread", "_socket", "_posixsubprocess", "io", "_io", "requests", "httpx", "ntpath",
    "posixpath", "_frozen_importlib", "fileinput", "distutils", "setuptools", "webbrowser", "cffi",
})
_CODE = frozenset({"cloudpickle.cloudpickle", "cloudpickle.cloudpickle_fast", "cloudpickle", "dill._dill", "dill"})


def judge(found: Iterable[Global], allow: Sequence[str]) -> dict[Global, Verdict]:
    """What each import is. `allow` are the policy's patterns."""
    rest = {one for one in found if not _is_usual(one)}
    known = _known_to_picklescan(rest)
    return {one: "allowed" if one not in rest else _verdict(one, known, allow) for one in sorted({*found}, key=str)}


def _verdict(one: Global, known: set[tuple[str, str]], allow: Sequence[str]) -> Verdict:
    base = one.module.partition(".")[0]
    module = "builtins" if one.module == "__builtin__" else one.module
    dangerous = ((one.module, one.name) in known or base in _DANGEROUS_MODULES or one.name in _MORE_DANGEROUS.get(module, ())
                 or UNKNOWN in (one.module, one.name) or one.module == EXTENSION or ("__" in one.name and "." in one.name))
    code = one.module in _CODE or (one.module, one.name) == ("types", "CodeType")
    if _is_allowed(one, allow, spelled=dangerous or code):
        return "allowed"
    return "code" if code else "dangerous" if dangerous else "unusual"


def _is_allowed(one: Global, allow: Sequence[str], *, spelled: bool) -> bool:
    """A wildcard lets no dangerous module through that it does not spell, and reaches no attribute of an import."""
    for pattern in allow:
        if pattern == str(one):
            return True
        if "." in one.name or (spelled and not pattern.startswith(f"{one.module}.")):
            continue
        if fnmatchcase(str(one), pattern):
            return True
    return False


def _is_usual(one: Global) -> bool:
    module, name = one.module, one.name
    if name in _EXACT.get(module, ()) or (module == "numpy" and _NUMPY_TYPES.fullmatch(name)):
        return True
    if module in _ARRAY_MODULES:
        return name in _ARRAYS
    if module == "numpy.dtypes":
        return bool(re.fullmatch(r"[A-Za-z0-9]+DType", name))
    if _SPARSE.fullmatch(module):
        return bool(_SPARSE_CLASS.fullmatch(name))
    if _NETWORK.fullmatch(module):
        return bool(_CLASS.fullmatch(name))
    if not _SKLEARN.fullmatch(module) or _SKLEARN_NOT.search(module):
        return False
    # Estimators, kernels, trees and losses are classes; what Cython generates to restore them is named after them.
    return bool(_CLASS.fullmatch(name.removeprefix("__pyx_unpickle_")))


def _known_to_picklescan(found: set[Global]) -> set[tuple[str, str]]:
    """Those that picklescan calls dangerous. It is asked by its public function, with a pickle that imports nothing else."""
    from picklescan.scanner import SafetyLevel, scan_pickle_bytes

    if not found:
        return set()
    opcodes = b"".join(_unicode(one.module) + _unicode(one.name) + pickle.STACK_GLOBAL for one in sorted(found, key=str))
    # It warns of each find in the log; ours goes into the evidence.
    logger = logging.getLogger("picklescan")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        told = scan_pickle_bytes(io.BytesIO(pickle.PROTO + b"\x04" + opcodes + pickle.STOP), "imports").globals
    finally:
        logger.setLevel(level)
    return {(one.module, one.name) for one in told if one.safety is SafetyLevel.Dangerous}


def _unicode(text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogatepass")
    return pickle.BINUNICODE + len(encoded).to_bytes(4, "little") + encoded
