"""Which cells of other people's packages are which of ours: `ORACLES`, by the name of our cell.

What torchrecurrent 0.2.5 computes otherwise than the papers is not here: LEM, NAS, SCRN, MUT1 and
MUT2; FastGRNN has the paper's sigmoid, IndRNN its relu.
"""

from functools import partial

import keras
import torch
from torch import nn

from tests.zoo.oracles import (
    Oracle,
    full,
    of_edgeml,
    of_keras,
    of_torch,
    recurrent,
    run_intersection,
    run_janet,
)

PROJECTED = 3
"""Features of the projection, which torch wants to be fewer than H."""

LSTMP = f"""
def lstm_projected(x, h: {PROJECTED}, c):
    i = sigmoid(linear(x, h))
    f = sigmoid(linear(x, h))
    g = tanh(linear(x, h))
    o = sigmoid(linear(x, h))
    c_new = f * c + i * g
    return linear(o * tanh(c_new), bias=None, width={PROJECTED}), c_new
"""

BOTH = (torch.float32, torch.float64)
SINGLE = (torch.float32,)  # in float64, Keras's GRU rounds to float32 on its way (measured: 7e-8)

ORACLES: dict[str, list[Oracle]] = {
    "rnn": [of_torch(nn.RNN, "y")],
    "irnn": [of_torch(partial(nn.RNN, nonlinearity="relu"), "y", weight_ih="y", weight_hh="y_2")],
    "lstm": [of_torch(nn.LSTM, "i f g o"), of_keras(keras.layers.LSTM, "i f g o", BOTH)],
    "lstm_projected": [
        of_torch(partial(nn.LSTM, proj_size=PROJECTED), "i f g o", weight_hr="y", cell=LSTMP)
    ],
    "lstm_no_f": [recurrent("OriginalLSTM", **full("i g o"))],
    "lstm_peephole": [recurrent("PeepholeLSTM", weight_ph="i_2 f_2 o_2", **full("i f g o"))],
    "mlstm": [
        recurrent(
            "MultiplicativeLSTM",
            weight_ih="m i.x f.x g.x o.x",
            weight_hh="m_2",
            weight_mh="i.h f.h g.h o.h",
            bias_ih="m:b i:b f:b g:b o:b",
            bias_hh="m_2:b",
        )
    ],
    "gru": [of_keras(keras.layers.GRU, "z r n", SINGLE, reset_after=False)],
    "gru_v1": [
        of_torch(
            nn.GRU, "r z n", weight_ih="r.x z.x n", weight_hh="r.h z.h n_2", bias_hh="r:0 z:0 n_2:b"
        )
    ],
    "mgu": [recurrent("MGU", **full("f n"))],
    "mut3": [
        recurrent(
            "MUT3",
            weight_ih="z.x r.x y.late_x",
            weight_hh="z.h r.h y.early_h",
            bias_ih="z:b r:b y:b",
        )
    ],
    "ugrnn": [recurrent("UGRNN", **full("c g"))],
    "janet": [recurrent("JANET", run_janet, constants={"beta": 1.0}, **full("s g"))],
    "intersection": [recurrent("IntersectionRNN", run_intersection, **full("y_in h_in g_y g_h"))],
    "ran": [recurrent("RAN", weight_ih="c_new i.x f.x", weight_hh="i.h f.h", bias_ih="i:b f:b")],
    "atr": [recurrent("ATR", weight_ih="p", weight_hh="q", bias_ih="p:b", bias_hh="q:b")],
    "cfn": [recurrent("CFN", weight_ih="f.x i.x y", weight_hh="f.h i.h", bias_ih="f:b i:b y:b")],
    "brc": [recurrent("BR", weight_ih="a c y", weight_hh="a_2 c_2", bias_ih="a:b c:b y:b")],
    "nbrc": [recurrent("NBR", weight_ih="a.x c.x y", weight_hh="a.h c.h", bias_ih="a:b c:b y:b")],
    "star": [recurrent("STAR", weight_ih="z k.x", weight_hh="k.h", bias_ih="z:b k:b")],
    "lightru": [recurrent("LightRU", weight_ih="n f.x", weight_hh="f.h", bias_ih="n:b f:b")],
    "sgrn": [recurrent("SGRN", weight_ih="p", weight_hh="f", bias_ih="p:b", bias_hh="f:b")],
    "sgu": [
        recurrent(
            "SGU", weight_ih="g z.x", weight_hh="g_2 z.h", bias_ih="g:b z:b", bias_hh="g_2:b z:0"
        )
    ],
    "dsgu": [
        recurrent(
            "DSGU",
            weight_ih="g z.x",
            weight_hh="g_2 z.h",
            weight_ho="y",
            bias_ih="g:b z:b",
            bias_hh="g_2:b z:0",
        )
    ],
    "ligru": [recurrent("LiGRU", **full("z n"))],
    "indrnn": [recurrent("IndRNN", weight_ih="y", vector_u="y_2", bias_ih="y:b")],
    "fastrnn": [
        recurrent("FastRNN", alpha="y", beta="y_2", **full("n")),
        of_edgeml("FastRNN", W="n.x", U="n.h", bias_update="n:b", alpha="y", beta="y_2"),
    ],
    "fastgrnn": [
        recurrent("FastGRNN", weight_ih="p.x", weight_hh="p.h", bias_ih="z n", zeta="y", nu="y_2"),
        of_edgeml("FastGRNN", W="p.x", U="p.h", bias_gate="z", bias_update="n", zeta="y", nu="y_2"),
    ],
    "fastgrnn_low_rank": [
        of_edgeml(
            "FastGRNN",
            W1="w",
            W2="p.rx",
            U1="u",
            U2="p.rh",
            bias_gate="z",
            bias_update="n",
            zeta="y",
            nu="y_2",
        )
    ],
    "trnn": [recurrent("TRNN", weight_ih="z f", bias_ih="z:b f:b")],
    "tgru": [recurrent("TGRU", **full("z f o"))],
    "tlstm": [recurrent("TLSTM", **full("z f o"))],
}
