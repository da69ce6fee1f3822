# All distillation methods on the mini set, each with the same search over its weight.
#
# The published weights, which the mini configs have, are for COCO. Beside a task loss of 3.3 in
# the first step here, the map terms of NST, PKD, ICD, ReviewKD and FCFD begin at 13 to 65: theirs
# are searched around a tenth of them. In a combination one factor scales all weights.
#
# Command: python tools/compare.py studies/methods.py --jobs 2
# Runs:    3 of the search for each method with a weight, and 5 of the table for each method
_base_ = '_base_/mini.py'

title = 'Distillation methods on the mini set'
references = ['plain', 'kd']
length = 200  # of 500: a hundred and fifty runs in two hours on two cores
search = dict(seeds=[101], factors=[0.3, 1, 3], length=100)

fcfd = ['fcfd_app', 'fcfd_kd', 'fcfd_box', 'fcfd_kd_st', 'fcfd_box_st', 'fcfd_kd_ts', 'fcfd_box_ts']
fcfd_wkd = ['wkd_f', 'wkd_l', 'fcfd_box', 'wkd_l_st', 'fcfd_box_st', 'wkd_l_ts', 'fcfd_box_ts']
compared = [  # title, config, terms
    ('KD', 'kd', ['kd']),
    ('DKD', 'dkd', ['dkd']),
    ('FitNet', 'fitnet', ['fitnet']),
    ('FGFI', 'fgfi', ['fgfi']),
    ('ICD', 'icd', ['icd']),
    ('NST', 'nst', ['nst']),
    ('ICKD-C', 'ickd', ['ickd']),
    ('PKD', 'pkd', ['pkd']),
    ('ReviewKD', 'reviewkd', ['reviewkd']),
    ('FCFD', 'fcfd', fcfd),
    ('WKD-L', 'wkd-l', ['wkd_l']),
    ('WKD-F', 'wkd-f', ['wkd_f']),
    ('WKD-F on the FPN', 'wkd-f-fpn', ['wkd_f_fpn']),
    ('WKD-L + WKD-F', 'wkd-lf', ['wkd_l', 'wkd_f']),
    ('WKD-L + WKD-F + box', 'wkd-lf-box', ['wkd_l', 'wkd_f', 'wkd_box']),
    ('DKD + ReviewKD', 'dkd-reviewkd', ['dkd', 'reviewkd']),
    ('ReviewKD + WKD-L + WKD-F', 'reviewkd-wkd', ['reviewkd', 'wkd_l', 'wkd_f']),
    ('FCFD with WKD', 'fcfd-wkd', fcfd_wkd),
]
lowered = dict(icd=0.3, nst=5.0, pkd=2.4, reviewkd=0.12, fcfd_app=0.8)
key = 'model.distill.loss_{}.loss.loss_weight'
methods = dict(
    plain=dict(title='plain student', config='configs/mini/faster-rcnn_student.py'),
    **{
        config.replace('-', '_'): dict(
            title=title,
            config=f'configs/mini/{config}.py',
            overrides={key.format(term): lowered[term] for term in terms if term in lowered},
            weight=[key.format(term) for term in terms],
        )
        for title, config, terms in compared
    },
)
del fcfd, fcfd_wkd, compared, lowered, key
