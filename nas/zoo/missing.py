"""Cells of the literature that are not in the zoo, and the reason for each.

A cell's states are rows of features; operations on them are elementwise, on rows, or matrices of
their own. A state that is a matrix, a matrix that two maps share, or a choice of the steps to take
does not fit.
"""

MATRIX = "its state is a matrix, to which outer products are added"

MISSING: dict[str, str] = {
    "mLSTM of xLSTM (Beck et al. 2024)": MATRIX,
    "xLSTM (Beck et al. 2024)": "a block of cells with norms and convolutions, not one cell: slstm",
    "RetNet (Sun et al. 2023)": MATRIX,
    "GLA (Yang et al. 2023)": MATRIX,
    "RWKV-5, 6 and 7 (Peng et al. 2024, 2025)": MATRIX,
    "HGRN2 (Qin et al. 2024)": MATRIX,
    "Mamba-2 (Dao & Gu 2024)": "each head's state is a matrix; mamba has the states of S6",
    "DeltaNet, Gated DeltaNet (Yang et al. 2024)": MATRIX,
    "TTT (Sun et al. 2024)": "its state is the weights of a model",
    "Titans (Behrouz et al. 2025)": "its state is the weights of a model",
    "LTC of ncps (Hasani et al. 2020)": (
        "a conductance for each pair of neurons, summed after a sigmoid: no matrix product; ltc is "
        "the dense form of the paper"
    ),
    "LTC with several solver steps": "they read one matrix; each map of a cell has its own",
    "Mass-conserving LSTM (Hoedt et al. 2021)": "x makes a matrix whose columns are a softmax",
    "uRNN, EUNN, expRNN (Arjovsky et al. 2016 and later)": (
        "unitary matrices: a matrix exponential or Householder reflections of the parameters"
    ),
    "LiGRU with batch normalisation (Ravanelli et al. 2018)": (
        "statistics of all steps of a batch, which one step does not see: ligru has biases"
    ),
    "Layer normalisation of all gates as one row (Ba et al. 2016)": (
        "a row has one value's features: lstm_layer_norm has a row for each gate"
    ),
    "Echo state network (Jaeger 2001)": "its matrices are drawn and never learned: leaky_rnn",
    "ACT, Skip RNN (Graves 2016, Campos et al. 2018)": "steps are taken or left out by a choice",
    "Zoneout (Krueger et al. 2017)": "a mask drawn at each step, of training and not of a cell",
    "Tree-LSTM (Tai et al. 2015)": "a step has several previous ones",
    "ConvLSTM (Shi et al. 2015)": "its maps are convolutions over an image",
    "NTM, DNC (Graves et al. 2014, 2016)": "it addresses a memory, a matrix",
    "Comfi-FastGRNN": "we know of no text or code from which its equations can be checked",
}
"""The reason for each cell by its name."""
